/**
 * What the parts of the store need of a connection to an etcd, whoever holds it: this thread (`channel.ts`), or the
 * link of a node with tenants (`link/`). It carries bytes; messages are made of them here.
 */

import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { giveWay } from "../../lib/give-way.ts";
import { EtcdFault } from "./faults.ts";

export interface StreamListener {
  onBytes(bytes: Uint8Array): void;
  /** Once, and nothing after it. */
  onEnd(fault: EtcdFault): void;
}

export interface EtcdStream {
  send(bytes: Uint8Array): void;
  /** The listener may hear of the end yet. */
  cancel(): void;
}

/** To one member, as long as that answers. Nothing is tried again. */
export interface EtcdConnection {
  /** "" while that is not known. */
  readonly url: string;
  readonly isClosed: boolean;
  /** Rejects with `EtcdFault`. */
  call(path: string, bytes: Uint8Array, token: string | null, deadlineMs: number): Promise<Uint8Array>;
  /** Ends by itself when the connection is closed. Throws `EtcdFault` where it is. */
  open(path: string, token: string | null, listener: StreamListener): EtcdStream;
  close(): void;
}

export interface EtcdConnector {
  /** Members that there are. */
  readonly count: number;
  /** To the member that is the best to be asked now. Throws `EtcdFault` where none can even be begun. */
  connect(): EtcdConnection;
  /** It is closed, since it failed: the next should go elsewhere. */
  failed(connection: EtcdConnection): void;
}

export async function callOn<I extends DescMessage, O extends DescMessage>(
  connection: EtcdConnection,
  method: DescMethodUnary<I, O>,
  request: MessageShape<I>,
  token: string | null,
  deadlineMs: number,
): Promise<MessageShape<O>> {
  const bytes = await connection.call(pathOf(method), toBinary(method.input, request), token, deadlineMs);
  giveWay();
  return read(method.output, bytes);
}

export interface OpenStream<I extends DescMessage> {
  send(message: MessageInitShape<I>): void;
  cancel(): void;
}

export function streamOn<I extends DescMessage, O extends DescMessage>(
  connection: EtcdConnection,
  method: DescMethodBiDiStreaming<I, O>,
  token: string | null,
  onMessage: (message: MessageShape<O>) => void,
  onEnd: (fault: EtcdFault) => void,
): OpenStream<I> {
  const stream = connection.open(pathOf(method), token, {
    onBytes: (bytes) => {
      let message: MessageShape<O>;
      giveWay();
      try {
        message = read(method.output, bytes);
      } catch (error) {
        onEnd(error as EtcdFault);
        return;
      }
      onMessage(message);
    },
    onEnd,
  });
  return {
    send: (message) => stream.send(toBinary(method.input, create(method.input, message))),
    cancel: () => stream.cancel(),
  };
}

function read<O extends DescMessage>(shape: O, bytes: Uint8Array): MessageShape<O> {
  try {
    return fromBinary(shape, bytes);
  } catch (error) {
    throw new EtcdFault("down", "it answers what cannot be read", false, { cause: error });
  }
}

function pathOf(method: { name: string; parent: { typeName: string } }): string {
  return `/${method.parent.typeName}/${method.name}`;
}
