/**
 * `mocking`: answers without an upstream, with a given body or a random one that fits a schema.
 *
 * Fails open in the sense that it decides nothing; plugins of the access phase with a lower priority do not run.
 */

import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { checkHeaderMap, compileHeaderMap, headerMap } from "../../plugin/header-map.ts";
import { Waits } from "../../plugin/waits.ts";
import { compileTemplate } from "../../lib/template.ts";
import { VERSION } from "../../lib/version.ts";
import { compileSample } from "./sample.ts";
import { toXml } from "./xml.ts";

const CONTENT_TYPES = new Set(["application/xml", "application/json", "text/plain", "text/html", "text/xml"]);

export default definePlugin({
  name: "mocking",
  version: "0.1.0",
  priority: 10900,
  config: Type.Object(
    {
      delay: Type.Integer({ default: 0, description: "Seconds to wait before the answer" }),
      response_status: Type.Integer({ minimum: 100, default: 200, description: "Status of the answer" }),
      content_type: Type.String({
        default: "application/json;charset=utf8",
        description: "Content-Type of the answer: XML, JSON, text/plain or text/html",
      }),
      response_example: Type.Optional(
        Type.String({ description: "Body of the answer; may hold $variables" }),
      ),
      response_schema: Type.Optional(
        Type.Unsafe<Record<string, unknown>>({
          type: "object",
          description: "JSON Schema of an object: the body is a random one; response_example comes first",
        }),
      ),
      with_mock_header: Type.Boolean({ default: true, description: "Add x-mock-by to the answer" }),
      response_headers: Type.Optional(headerMap("Header fields of the answer; text may hold $variables")),
    },
    { anyOf: [{ required: ["response_example"] }, { required: ["response_schema"] }] },
  ),
  check(config) {
    const { response_status: status, content_type: contentType } = config;
    if (!CONTENT_TYPES.has(mediaType(contentType))) return "unsupported content type!";
    if (status < 200 || status > 999) {
      return `property "response_status" validation failed: expected ${status} to be from 200 to 999`;
    }
    if (config.response_example === undefined) {
      if (mediaType(contentType) === "text/html")
        return "json schema body only support xml and json content type";
      try {
        compileSample(config.response_schema);
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }
    return checkHeaderMap(config.response_headers);
  },
  compile(config) {
    const body = compileBody(config.response_example, config.response_schema, mediaType(config.content_type));
    const base: Record<string, string> = { "Content-Type": config.content_type };
    if (config.with_mock_header) base["x-mock-by"] = `Cardea/${VERSION}`;
    const headersOf = compileHeaderMap({ ...base, ...config.response_headers });
    const waits = new Waits();
    const delayMs = config.delay * 1000;

    const answerOf = (ctx: Exchange) => ctx.answer(config.response_status, body(ctx), headersOf(ctx));
    if (delayMs <= 0) return { access: answerOf };
    return {
      async access(ctx) {
        await waits.wait(ctx, delayMs);
        return answerOf(ctx);
      },
      log: (ctx) => waits.end(ctx),
    };
  },
});

function compileBody(example: string | undefined, schema: unknown, type: string): (ctx: Exchange) => string {
  if (example !== undefined) {
    const template = compileTemplate(example);
    return (ctx) => template.render(ctx);
  }
  const sample = compileSample(schema);
  if (type.endsWith("/xml")) return (ctx) => toXml(sample(ctx), "data");
  return (ctx) => JSON.stringify(sample(ctx));
}

function mediaType(contentType: string): string {
  const semicolon = contentType.indexOf(";");
  return semicolon === -1 ? contentType : contentType.slice(0, semicolon);
}
