/**
 * One connection to one member of an etcd: calls with a deadline, and streams for watches. It never connects
 * elsewhere and tries nothing again; whoever holds it closes it when it has failed.
 */

import { readFileSync } from "node:fs";
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  credentials,
  logVerbosity,
  Metadata,
  setLogVerbosity,
} from "@grpc/grpc-js";
import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { EtcdTlsConfig } from "../../config/static-config.ts";
import { EtcdFault, faultOf } from "./faults.ts";

/** Largest answer that is taken: pages stay far below, and one item can have what its etcd allows. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** etcd refuses pings that come more often than every five seconds. */
const PING_EVERY_MS = 6000;
const PING_TIMEOUT_MS = 4000;
/** What is worth to be told stands in the node's own log. */
setLogVerbosity(logVerbosity.NONE);

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };

export class EtcdChannel {
  readonly url: string;
  readonly #client: Client;
  readonly #streams = new Set<ClientDuplexStream<unknown, unknown>>();
  isClosed = false;

  /** Throws when files that TLS needs cannot be read. */
  constructor(url: string, tls: EtcdTlsConfig | null) {
    this.url = url;
    const { hostname, port, protocol } = new URL(url);
    const options: ClientOptions = {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
      "grpc.service_config_disable_resolution": 1,
      "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
      "grpc.max_send_message_length": -1,
      "grpc.keepalive_time_ms": PING_EVERY_MS,
      "grpc.keepalive_timeout_ms": PING_TIMEOUT_MS,
      "grpc.enable_http_proxy": 0,
    };
    if (tls !== null && tls.serverName !== null) {
      options["grpc.ssl_target_name_override"] = tls.serverName;
      options["grpc.default_authority"] = tls.serverName;
    }
    const address = `${hostname}:${port === "" ? DEFAULT_PORTS[protocol] : port}`;
    this.#client = new Client(address, credentialsOf(tls), options);
  }

  /** Rejects with `EtcdFault`. */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    token: string | null,
    deadlineMs: number,
  ): Promise<MessageShape<O>> {
    this.#assertOpen();
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        pathOf(method),
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (bytes: Buffer) => fromBinary(method.output, bytes),
        request,
        metadataOf(token),
        { deadline: Date.now() + deadlineMs },
        (error, answer) => {
          if (error === null) resolve(answer!);
          else reject(faultOf(error));
        },
      );
    });
  }

  /** A stream that ends by itself when the channel is closed. */
  open<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    token: string | null,
  ): ClientDuplexStream<MessageShape<I>, MessageShape<O>> {
    this.#assertOpen();
    const stream = this.#client.makeBidiStreamRequest(
      pathOf(method),
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      metadataOf(token),
      {},
    );
    const kept = stream as unknown as ClientDuplexStream<unknown, unknown>;
    this.#streams.add(kept);
    // "close" does not come on every path of grpc-js; "status" does, once.
    stream.on("status", () => this.#streams.delete(kept));
    return stream;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const stream of this.#streams) stream.cancel();
    this.#client.close();
  }

  /** Somebody else's call has failed meanwhile. */
  #assertOpen(): void {
    if (this.isClosed) throw new EtcdFault("down", "the connection was given up", true);
  }
}

function credentialsOf(tls: EtcdTlsConfig | null): ChannelCredentials {
  if (tls === null) return credentials.createInsecure();
  const read = (file: string | null) => (file === null ? null : readFileSync(file));
  return credentials.createSsl(read(tls.caFile), read(tls.keyFile), read(tls.certificateFile), {
    rejectUnauthorized: tls.isVerified,
  });
}

function pathOf(method: { name: string; parent: { typeName: string } }): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function metadataOf(token: string | null): Metadata {
  const metadata = new Metadata();
  // A member that has lost its leader says so instead of being silent.
  metadata.set("hasleader", "true");
  if (token !== null) metadata.set("token", token);
  return metadata;
}
