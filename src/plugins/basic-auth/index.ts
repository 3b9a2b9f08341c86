/**
 * `basic-auth`: identifies the consumer by name and password in `Authorization: Basic` (RFC 7617).
 *
 * Fails closed: without the credentials of a consumer the answer is 401, unless an anonymous consumer is named.
 */

import { definePlugin, Type, type PluginHost } from "../../plugin/index.ts";
import type { IndexedConsumer } from "../../plugin/index.ts";
import { admitAnonymous, isUnresolvedSecret } from "../../plugin/authentication.ts";
import { AnonymousConsumer, realm } from "../../plugin/schema.ts";
import { isPassword, readBasicCredentials, withoutWhitespace } from "./credentials.ts";
import type { Credentials } from "./credentials.ts";

const NAME = "basic-auth";

export default definePlugin({
  name: NAME,
  version: "0.1.0",
  priority: 2520,
  type: "auth",
  failsClosed: true,
  config: Type.Object(
    {
      hide_credentials: Type.Boolean({
        default: false,
        description: "Keep the Authorization header from the upstream",
      }),
      realm: realm("basic"),
      anonymous_consumer: AnonymousConsumer,
    },
    { title: "work with route or service object" },
  ),
  consumer: Type.Object(
    {
      username: Type.String({ description: "Name that the client sends; unique among consumers" }),
      password: Type.String({ description: "Password that the client sends" }),
    },
    { title: "work with consumer object" },
  ),
  encrypted: ["password"],
  compile(config, host) {
    const challenge = { "WWW-Authenticate": `Basic realm="${config.realm}"` };
    const missing = { plugin: NAME, message: "Missing authorization in request", challenge };
    const unreadable = { plugin: NAME, message: "Invalid authorization in request", challenge };
    const unknown = { plugin: NAME, message: "Invalid user authorization", challenge };

    return {
      rewrite(ctx) {
        const header = ctx.request.headers.get("authorization");
        const credentials = header === undefined ? null : readBasicCredentials(header);
        const consumer = credentials === null ? null : identify(host, credentials);
        if (consumer === null) {
          const refusal = header === undefined ? missing : credentials === null ? unreadable : unknown;
          const answer = admitAnonymous(ctx, host, config.anonymous_consumer, refusal);
          if (answer !== undefined) return answer;
        } else {
          ctx.setConsumer(consumer.facts);
        }
        if (config.hide_credentials) ctx.request.headers.delete("authorization");
        return undefined;
      },
    };
  },
});

function identify(host: PluginHost, credentials: Credentials): IndexedConsumer | null {
  return findConsumer(host, credentials) ?? findConsumer(host, withoutWhitespace(credentials));
}

function findConsumer(host: PluginHost, { username, password }: Credentials): IndexedConsumer | null {
  const consumer = host.consumers.find(NAME, "username", username);
  if (consumer === null) return null;
  const expected = expectedPassword(consumer.config);
  return expected !== null && isPassword(password, expected) ? consumer : null;
}

/** Bytes of passwords, as long as their configurations live. */
const passwords = new WeakMap<object, Buffer>();

/** Null: there is no password to know. */
function expectedPassword(config: IndexedConsumer["config"]): Buffer | null {
  const known = passwords.get(config);
  if (known !== undefined) return known;
  const { password } = config;
  if (typeof password !== "string" || isUnresolvedSecret(password)) return null;
  const bytes = Buffer.from(password);
  passwords.set(config, bytes);
  return bytes;
}
