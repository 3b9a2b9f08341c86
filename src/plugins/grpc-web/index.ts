/**
 * `grpc-web`: calls from browsers. gRPC-Web comes over any version of HTTP, in bytes or in base64, and has no trailers; the
 * upstream gets gRPC, and its trailers come as the last frame of the answer's body.
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md)
 *
 * Nothing is gathered: messages go on as they come, in both directions. Fails closed: what is no gRPC-Web is refused.
 */

import { grpcStatusOf } from "../../lib/grpc-status.ts";
import { reasonPhrase } from "../../lib/status-codes.ts";
import { definePlugin, Type, type Answer, type Exchange, type HeaderList } from "../../plugin/index.ts";
import { wireText } from "../../lib/field-value.ts";
import { CORS_REFUSED } from "../cors/index.ts";
import { Base64Stream } from "./base64-stream.ts";
import { readMediaType } from "./media-types.ts";
import { MessageBounds } from "./message-bounds.ts";
import { trailerFrame } from "./trailer-frame.ts";

const NOTHING = Buffer.alloc(0);
const GRPC = "application/grpc";
const NOT_RECEIVED = "upstream grpc status not received";

/** A call that was taken, until its answer is through. */
interface Call {
  contentType: string;
  /** Null: bytes are bytes. */
  base64: Base64Stream | null;
  requestBytes: number;
  /** The header of the answer says the status: no frame does. */
  isToldInHead: boolean;
  /** The answer is not gRPC's: its body would be read as messages. */
  isForeign: boolean;
  messages: MessageBounds;
}

export default definePlugin({
  name: "grpc-web",
  version: "0.1.0",
  priority: 505,
  config: Type.Object({
    cors_allow_headers: Type.String({
      default: "content-type,x-grpc-web,x-user-agent",
      description: "Request headers that pages of other origins may send, between commas",
    }),
    max_req_body_size: Type.Integer({
      minimum: 1,
      default: 67_108_864,
      description: "Bytes of a request's body; beyond them it is refused with 413",
    }),
  }),
  compile(config) {
    const allowedHeaders = wireText(config.cors_allow_headers);
    const maxBytes = config.max_req_body_size;
    const calls = new WeakMap<Exchange, Call>();

    /** In the middle of its body. */
    function refuse(ctx: Exchange, status: number): Buffer {
      ctx.cutOff(ctx.answer(status));
      return NOTHING;
    }

    function begin(ctx: Exchange): Answer | undefined {
      const { headers, method } = ctx.request;
      if (method === "OPTIONS") return ctx.answer(204);
      if (method !== "POST") return refusal(ctx, 405);
      const contentType = headers.get("content-type");
      const type = readMediaType(contentType);
      if (type === null) return refusal(ctx, 400);
      if (Number(headers.get("content-length")) > maxBytes) {
        ctx.callType = contentType!;
        return ctx.answer(413);
      }
      calls.set(ctx, {
        contentType: contentType!,
        base64: type.isText ? new Base64Stream() : null,
        requestBytes: 0,
        isToldInHead: false,
        isForeign: false,
        messages: new MessageBounds(),
      });
      ctx.callType = contentType!;
      headers.put("content-type", "Content-Type", type.grpcType);
      headers.put("te", "TE", "trailers");
      if (ctx.upstreamTarget === null) ctx.request.path = callPath(ctx);
      return undefined;
    }

    function allowReading(ctx: Exchange, headers: HeaderList): void {
      if (ctx.request.method === "OPTIONS") {
        headers.put("access-control-allow-methods", "Access-Control-Allow-Methods", "POST");
        headers.set("Access-Control-Allow-Headers", allowedHeaders);
      }
      if (!headers.has("access-control-allow-origin") && ctx.variable(CORS_REFUSED) === undefined)
        headers.push("access-control-allow-origin", "Access-Control-Allow-Origin", "*");
      headers.put(
        "access-control-expose-headers",
        "Access-Control-Expose-Headers",
        "grpc-message,grpc-status",
      );
    }

    return {
      access: begin,
      requestBody(ctx, chunk, last) {
        const call = calls.get(ctx);
        if (call === undefined) return chunk;
        call.requestBytes += chunk.length;
        if (call.requestBytes > maxBytes) return refuse(ctx, 413);
        const { base64 } = call;
        if (base64 === null) return chunk;
        const bytes = base64.decode(chunk);
        const rest = last ? base64.end() : NOTHING;
        if (bytes === null || rest === null) return refuse(ctx, 400);
        return rest.length === 0 ? bytes : Buffer.concat([bytes, rest]);
      },
      responseHeaders(ctx) {
        const { response } = ctx;
        const { headers } = response;
        allowReading(ctx, headers);
        const call = calls.get(ctx);
        if (response.source === "gateway") {
          calls.delete(ctx);
          // Answered before it came here, by a plugin that wants to know who calls, say.
          if (ctx.callType === null && isCall(ctx)) ctx.callType = ctx.request.headers.get("content-type")!;
          return;
        }
        if (call === undefined) return;
        call.isToldInHead = headers.has("grpc-status");
        call.isForeign = !isGrpc(headers.get("content-type"));
        headers.set("Content-Type", call.contentType);
      },
      responseBody(ctx, chunk, last) {
        const call = calls.get(ctx);
        if (call === undefined) return chunk;
        const { response } = ctx;
        if (!call.isForeign) call.messages.pass(chunk);
        const passed = call.isForeign ? NOTHING : encoded(call, chunk);
        if (!last) return passed;
        // Behind half a message the frame would be read as the other half.
        if (!call.messages.isBetween)
          throw new Error("grpc-web: the answer ended in the middle of a message");
        const { trailers, status } = response;
        // Nobody who speaks gRPC-Web reads them there.
        response.trailers = null;
        if (call.isToldInHead) return passed;
        const missing = { status: status === 200 ? 2 : grpcStatusOf(status), message: NOT_RECEIVED };
        const frame = encoded(call, trailerFrame(trailers, missing));
        return passed.length === 0 ? frame : Buffer.concat([passed, frame]);
      },
    };
  },
});

/** A page, as APISIX has one. Its readers are people: no client of gRPC-Web sends what is refused so. */
function refusal(ctx: Exchange, status: number): Answer {
  const title = `${status} ${reasonPhrase(status)}`;
  return ctx.answer(
    status,
    `<html>\n<head><title>${title}</title></head>\n<body><h1>${title}</h1></body>\n</html>\n`,
    { "Content-Type": "text/html" },
  );
}

/** "/package.Service/Method": what the `*` of the route's path stands for; without one, the path as it is. */
function callPath(ctx: Exchange): string {
  const { path } = ctx.request;
  const pattern = ctx.route === null ? "" : ctx.route.matchedUri;
  const prefix = pattern.length - 1;
  if (pattern.indexOf("*") !== prefix || !path.startsWith(pattern.slice(0, prefix))) return path;
  const rest = path.slice(prefix);
  return rest.startsWith("/") ? rest : `/${rest}`;
}

function isCall({ request }: Exchange): boolean {
  return request.method === "POST" && readMediaType(request.headers.get("content-type")) !== null;
}

function isGrpc(contentType: string | undefined): boolean {
  return contentType !== undefined && contentType.startsWith(GRPC);
}

/** Each piece has padding of its own, so that none waits for the next one. */
function encoded(call: Call, bytes: Buffer): Buffer {
  return call.base64 === null || bytes.length === 0 ? bytes : Buffer.from(bytes.toString("base64"), "latin1");
}
