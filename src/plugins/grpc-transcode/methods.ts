/**
 * Methods of the protos in use, ready to be called: the descriptors of a proto are read once per worker and version of it.
 * This module brings the library along; the plugin loads it with its first request.
 */

import { createFileRegistry, type DescMessage, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { HeaderList, PublishedProto } from "../../plugin/index.ts";
import type { Arguments } from "./arguments.ts";
import { errorBody } from "./error-body.ts";
import { JsonWriter } from "./json-writer.ts";
import { encodeMessage } from "./message-encoder.ts";

const registries = new WeakMap<PublishedProto, FileRegistry>();

/** Of a message on the wire: whether it is compressed (one byte), and its length (four). */
const PREFIX_BYTES = 5;

/** One single call that requests are turned into. */
export class TranscodedMethod {
  readonly proto: PublishedProto;
  /** Target of the request to upstream. */
  readonly target: string;
  readonly #types: FileRegistry;
  readonly #input: DescMessage;
  readonly #output: DescMessage;
  readonly #writer: JsonWriter;

  /** Throws, with a text for the operator, when the proto has no such method. */
  constructor(proto: PublishedProto, service: string, method: string, options: readonly string[]) {
    this.proto = proto;
    this.target = `/${service}/${method}`;
    this.#types = registryOf(proto);
    const found = this.#types.getService(service);
    if (found === undefined) throw new Error(`proto ${proto.id} has no service ${JSON.stringify(service)}`);
    const { input, output, methodKind } = found.methods.find(({ name }) => name === method) ?? {};
    if (input === undefined || output === undefined)
      throw new Error(`service ${service} of proto ${proto.id} has no method ${JSON.stringify(method)}`);
    if (methodKind !== "unary")
      throw new Error(`method ${service}/${method} of proto ${proto.id}: expected one without streams`);
    this.#input = input;
    this.#output = output;
    this.#writer = new JsonWriter(options);
  }

  /** The body of the request to upstream. Throws `InvalidRequest`. */
  request(values: Arguments): Buffer {
    const message = encodeMessage(this.#input, values);
    const body = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
    body[0] = 0;
    body.writeUInt32BE(message.length, 1);
    body.set(message, PREFIX_BYTES);
    return body;
  }

  /** The upstream's body as JSON. Throws when it is not exactly one such message. */
  answer(body: Buffer): string {
    if (body.length < PREFIX_BYTES) throw new Error("an answer without a message");
    if (body[0] !== 0) throw new Error("a message in a compression that nobody asked for");
    const length = body.readUInt32BE(1);
    if (body.length !== PREFIX_BYTES + length)
      throw new Error(`a message of ${length} bytes in a body of ${body.length}, expected 5 more`);
    return this.#writer.write(this.#output, body.subarray(PREFIX_BYTES));
  }

  /** What a failed call is answered with; details that cannot be read as `detailType` are told to `onFault`. */
  errorBody(headers: HeaderList, detailType: string | undefined, onFault: (reason: string) => void): string {
    return errorBody(headers, { type: detailType, types: this.#types, writer: this.#writer }, onFault);
  }
}

function registryOf(proto: PublishedProto): FileRegistry {
  let registry = registries.get(proto);
  if (registry === undefined) {
    const set = fromBinary(FileDescriptorSetSchema, Buffer.from(proto.descriptors, "base64"));
    registries.set(proto, (registry = createFileRegistry(set)));
  }
  return registry;
}
