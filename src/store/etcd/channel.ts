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
import type { EtcdStoreConfig, EtcdTlsConfig } from "../../config/static-config.ts";
import type { EtcdConnection, EtcdConnector, EtcdStream, StreamListener } from "./connection.ts";
import { Endpoints } from "./endpoints.ts";
import { EtcdFault, faultOf } from "./faults.ts";

/** Largest answer that is taken: pages stay far below, and one item can have what its etcd allows. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** etcd refuses pings that come more often than every five seconds. */
const PING_EVERY_MS = 6000;
const PING_TIMEOUT_MS = 4000;
/** What is worth to be told stands in the node's own log. */
setLogVerbosity(logVerbosity.NONE);

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };

export type ConnectorConfig = Pick<EtcdStoreConfig, "endpoints" | "avoidFailedMs" | "tls">;

/** Connections of this thread, each its own. */
export class DirectConnector implements EtcdConnector {
  readonly #endpoints: Endpoints;
  readonly #tls: EtcdTlsConfig | null;

  constructor({ endpoints, avoidFailedMs, tls }: ConnectorConfig) {
    this.#endpoints = new Endpoints(endpoints, avoidFailedMs);
    this.#tls = tls;
  }

  get count(): number {
    return this.#endpoints.count;
  }

  connect(): EtcdChannel {
    const url = this.#endpoints.choose();
    try {
      return new EtcdChannel(url, this.#tls);
    } catch (error) {
      this.#endpoints.failed(url);
      throw new EtcdFault("down", String(error), true, { cause: error });
    }
  }

  failed({ url }: EtcdConnection): void {
    this.#endpoints.failed(url);
  }
}

class EtcdChannel implements EtcdConnection {
  readonly url: string;
  readonly #client: Client;
  readonly #streams = new Set<ClientDuplexStream<Uint8Array, Uint8Array>>();
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

  async call(path: string, bytes: Uint8Array, token: string | null, deadlineMs: number): Promise<Uint8Array> {
    this.#assertOpen();
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        asBuffer,
        asIs,
        bytes,
        metadataOf(token),
        { deadline: Date.now() + deadlineMs },
        (error, answer) => {
          if (error === null) resolve(answer!);
          else reject(faultOf(error));
        },
      );
    });
  }

  open(path: string, token: string | null, listener: StreamListener): PausableStream {
    this.#assertOpen();
    const stream = this.#client.makeBidiStreamRequest(path, asBuffer, asIs, metadataOf(token), {});
    this.#streams.add(stream);
    let isOver = false;
    const end = (fault: EtcdFault): void => {
      if (isOver) return;
      isOver = true;
      listener.onEnd(fault);
    };
    stream.on("data", (bytes: Uint8Array) => {
      if (!isOver) listener.onBytes(bytes);
    });
    stream.on("error", (error) => end(faultOf(error)));
    stream.on("end", () => end(new EtcdFault("down", "the watch was ended by the server")));
    // "close" does not come on every path of grpc-js; "status" does, once.
    stream.on("status", () => this.#streams.delete(stream));
    return {
      send: (bytes) => void stream.write(bytes),
      cancel: () => stream.cancel(),
      pause: () => void stream.pause(),
      resume: () => void stream.resume(),
    };
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

export interface PausableStream extends EtcdStream {
  pause(): void;
  resume(): void;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function asIs(bytes: Buffer): Uint8Array {
  return bytes;
}

function credentialsOf(tls: EtcdTlsConfig | null): ChannelCredentials {
  if (tls === null) return credentials.createInsecure();
  const read = (file: string | null) => (file === null ? null : readFileSync(file));
  return credentials.createSsl(read(tls.caFile), read(tls.keyFile), read(tls.certificateFile), {
    rejectUnauthorized: tls.isVerified,
  });
}

function metadataOf(token: string | null): Metadata {
  const metadata = new Metadata();
  // A member that has lost its leader says so instead of being silent.
  metadata.set("hasleader", "true");
  if (token !== null) metadata.set("token", token);
  return metadata;
}
