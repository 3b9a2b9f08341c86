/**
 * `grpc-transcode`: a request of HTTP with a query, a form or JSON becomes a single call of gRPC, and its answer JSON.
 *
 * The upstream has the scheme `grpc` or `grpcs`. The head of the answer is held back until the call has ended, so that the
 * status of HTTP follows from that of gRPC wherever the upstream tells it. Fails closed: without the proto, the service or
 * the method a request is answered with 503 and goes nowhere.
 */

import {
  type Answer,
  definePlugin,
  type Exchange,
  type HeaderList,
  type PluginHost,
  type WholeAnswer,
} from "../../plugin/index.ts";
import { dropBodyFacts } from "../../plugin/body-facts.ts";
import { readArguments, readsBody } from "./arguments.ts";
import { Config, type TranscodeConfig } from "./config.ts";
import { httpStatusOf } from "./http-status.ts";
import { InvalidRequest } from "./invalid-request.ts";
import type { TranscodedMethod } from "./methods.ts";

/** What servers of gRPC take of a message, unless they are told otherwise. */
const MAX_REQUEST_BYTES = 4 * 1024 ** 2;
/** Of a message on the wire, before its bytes. */
const PREFIX_BYTES = 5;
/** The longest that a timer can wait. */
const LONGEST_MS = 0x7fff_ffff;
const STATUS_FIELDS = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
const NOTHING = Buffer.alloc(0);

export default definePlugin({
  name: "grpc-transcode",
  version: "0.1.0",
  priority: 506,
  failsClosed: true,
  config: Config,
  compile(config, host) {
    const transcoding = new Transcoding(config, host);
    return {
      access: (ctx) => transcoding.begin(ctx),
      responseHeaders: (ctx) => transcoding.end(ctx),
      responseBody: (ctx, chunk, last) => transcoding.body(ctx, chunk, last),
      log: (ctx) => transcoding.forget(ctx),
    };
  },
});

/** A request that is on its way as a call. */
interface Call {
  readonly method: TranscodedMethod;
  /** Of the client's request. */
  readonly contentType: string | undefined;
  readonly timer: NodeJS.Timeout | null;
  /** In the place of what the upstream sent; null: that goes on. */
  answer: Buffer | null;
}

class Transcoding {
  readonly #config: TranscodeConfig;
  readonly #host: PluginHost;
  readonly #protoId: string;
  readonly #onFault = (reason: string): void =>
    this.#host.log.error("details of a call cannot be read", { plugin: "grpc-transcode", reason });
  readonly #calls = new WeakMap<Exchange, Call>();
  /** Of the version of the proto that was used last. */
  #method: TranscodedMethod | null = null;

  constructor(config: TranscodeConfig, host: PluginHost) {
    this.#config = config;
    this.#host = host;
    this.#protoId = String(config.proto_id);
  }

  async begin(ctx: Exchange): Promise<void | Answer> {
    let method: TranscodedMethod;
    try {
      method = await this.#currentMethod();
    } catch (error) {
      const reason = (error as Error).message;
      this.#host.log.error("no such call", { plugin: "grpc-transcode", reason });
      return ctx.answer(503, { error_msg: `grpc-transcode: ${reason}` });
    }
    const body = readsBody(ctx.request) ? await ctx.readBody(MAX_REQUEST_BYTES) : NOTHING;
    if (body === null) return ctx.answer(413, { error_msg: "the body is too long" });
    if (ctx.ended) return undefined;
    try {
      this.#send(ctx, method, method.request(readArguments(ctx.request, body)));
      return undefined;
    } catch (error) {
      if (!(error instanceof InvalidRequest)) throw error;
      return ctx.answer(400, { error_msg: `failed to encode request data to protobuf: ${error.message}` });
    }
  }

  /** Of the proto as it is now. Throws, with a text for the operator, when there is no such method. */
  async #currentMethod(): Promise<TranscodedMethod> {
    const proto = this.#host.protoOf(this.#protoId);
    if (proto === null) throw new Error(`there is no proto ${JSON.stringify(this.#protoId)}`);
    if (this.#method?.proto === proto) return this.#method;
    const { TranscodedMethod } = await import("./methods.ts");
    const { service, method, pb_option: options } = this.#config;
    return (this.#method = new TranscodedMethod(proto, service, method, options));
  }

  #send(ctx: Exchange, method: TranscodedMethod, message: Buffer): void {
    const { request } = ctx;
    const { headers } = request;
    const timer = this.#config.deadline > 0 ? this.#startTimer(ctx) : null;
    const contentType = headers.joined("content-type");
    this.#calls.set(ctx, { method, contentType, timer, answer: null });
    request.method = "POST";
    ctx.upstreamTarget = method.target;
    ctx.replaceBody(message);
    headers.put("content-type", "Content-Type", "application/grpc");
    headers.put("te", "TE", "trailers");
    headers.delete("content-encoding");
    headers.delete("accept-encoding");
    headers.delete("grpc-encoding");
    headers.delete("grpc-accept-encoding");
  }

  /** The upstream is told what is left, and may say itself that it is over; who does not is cut off. */
  #startTimer(ctx: Exchange): NodeJS.Timeout {
    const endsAt = ctx.startedAt + this.#config.deadline;
    ctx.deadlineAt = Math.min(ctx.deadlineAt, endsAt);
    const leftMs = Math.min(Math.max(endsAt - this.#host.monotonicNow(), 0), LONGEST_MS);
    return setTimeout(() => {
      if (!ctx.ended) ctx.cutOff(this.#lateAnswer(ctx));
    }, leftMs);
  }

  #lateAnswer(ctx: Exchange): Answer {
    const message = "Deadline Exceeded";
    const shown = { error: { code: 4, message, details: [] } };
    const body = this.#config.show_status_in_body ? shown : { error_msg: message };
    return ctx.answer(504, body, { "grpc-status": "4", "grpc-message": message });
  }

  end(ctx: Exchange): void | Promise<void> {
    const call = this.#calls.get(ctx);
    if (call === undefined) return undefined;
    // Logs, and the form of the gateway's errors, go by what the client sent.
    const { headers } = ctx.request;
    if (call.contentType === undefined) headers.delete("content-type");
    else headers.put("content-type", "Content-Type", call.contentType);
    call.answer = null;
    if (ctx.response.source !== "upstream" || ctx.response.status >= 300) return undefined;
    return this.#transcode(ctx, call);
  }

  async #transcode(ctx: Exchange, call: Call): Promise<void> {
    const limitBytes = this.#config.max_resp_body_size;
    const { body, trailers } = await ctx.readAnswer(limitBytes + PREFIX_BYTES);
    if (body === null) {
      this.#host.log.error("answer too long", { plugin: "grpc-transcode", limit_bytes: limitBytes });
      ctx.cutOff(ctx.answer(502, { error_msg: `the upstream's answer is longer than ${limitBytes} bytes` }));
      return;
    }
    const { headers } = ctx.response;
    try {
      checkIsGrpc(headers);
      takeStatus(headers, trailers);
      call.answer = Buffer.from(this.#answerOf(ctx, call, body));
    } catch (error) {
      const reason = (error as Error).message;
      this.#host.log.error("answer cannot be read", { plugin: "grpc-transcode", reason });
      ctx.response.status = 502;
      call.answer = Buffer.from(
        JSON.stringify({ error_msg: `the upstream's answer cannot be read: ${reason}` }),
      );
    }
    dropBodyFacts(headers);
    headers.delete("grpc-encoding");
    headers.delete("grpc-accept-encoding");
    headers.put("content-type", "Content-Type", "application/json");
  }

  /** The body for the client; sets the status. */
  #answerOf(ctx: Exchange, { method }: Call, body: Buffer): string {
    const { response } = ctx;
    const status = response.headers.get("grpc-status");
    if (status === undefined) throw new Error("it has no grpc-status");
    if (status === "0") return method.answer(body);
    response.status = httpStatusOf(status);
    if (!this.#config.show_status_in_body) return "";
    return method.errorBody(response.headers, this.#config.status_detail_type, this.#onFault);
  }

  body(ctx: Exchange, chunk: Buffer, last: boolean): Buffer {
    const answer = this.#calls.get(ctx)?.answer ?? null;
    if (answer === null) return chunk;
    return last ? answer : NOTHING;
  }

  forget(ctx: Exchange): void {
    const call = this.#calls.get(ctx);
    if (call === undefined) return;
    this.#calls.delete(ctx);
    if (call.timer !== null) clearTimeout(call.timer);
  }
}

/** What is no call was not answered by a server of gRPC. */
function checkIsGrpc(headers: HeaderList): void {
  const type = headers.get("content-type");
  if (type === undefined || !type.startsWith("application/grpc"))
    throw new Error(`its content type is ${JSON.stringify(type ?? "")}, expected application/grpc`);
}

/** The whole answer is known: how the call ended may stand in its head, where clients of HTTP look. */
function takeStatus(headers: HeaderList, trailers: WholeAnswer["trailers"]): void {
  for (const name of STATUS_FIELDS) {
    const value = trailers?.get(name);
    if (value === undefined) continue;
    headers.set(name, value);
    trailers!.delete(name);
  }
}
