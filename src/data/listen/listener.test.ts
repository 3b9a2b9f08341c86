import assert from "node:assert/strict";
import { createServer, Socket, type AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { HTTP_CONFIG } from "../../../test/shapes/echo-listener.ts";
import { WireClient } from "../../../test/shapes/wire-client.ts";
import { HeaderList } from "../../lib/headers.ts";
import { Deadlines } from "../deadlines.ts";
import { Http1ClientConnection } from "../http1/client-connection.ts";
import type { ConnectionHost } from "../http1/connection-host.ts";
import type { ClientHandler, ClientTransport, RequestHead } from "../transport.ts";
import { matchHttp2Preface } from "./detect.ts";
import { type ByteReader, readWith, releaseReader } from "./shared-read.ts";

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const IDLE: ClientHandler = {
  onBody: () => true,
  onEnd: () => undefined,
  onWritable: () => undefined,
  onAbort: () => undefined,
};

function answerTarget(transport: ClientTransport, head: RequestHead): ClientHandler {
  transport.writeAnswer(200, "", new HeaderList(), head.target);
  return IDLE;
}

describe("the preface of HTTP/2", () => {
  test("is told from HTTP/1 by its first bytes", () => {
    const preface = Buffer.from(PREFACE);
    for (let length = 0; length < preface.length; length++)
      assert.equal(matchHttp2Preface(preface, 0, length), "partial");
    assert.equal(matchHttp2Preface(preface, 0, preface.length), "yes");
    for (const other of [
      "GET / HTTP/1.1",
      "PROPFIND / HTTP/1.1",
      "PRI * HTTP/1.1\r\n",
      `${PREFACE.slice(0, -1)}x`,
    ]) {
      assert.equal(matchHttp2Preface(Buffer.from(other), 0, other.length), "no", other);
    }
  });
});

describe("a socket that the shared read buffer does not fit", () => {
  test("is read by events, and serves, pauses, ends and upgrades the same", async () => {
    const deadlines = new Deadlines();
    let closed = 0;
    const host: ConnectionHost = {
      http: HTTP_CONFIG,
      deadlines,
      onHttp2: null,
      onRefused: () => undefined,
      onFault: () => undefined,
      onClosed: () => {
        closed++;
      },
      onRequest: (transport, head) => {
        if (head.upgrade === null) return answerTarget(transport, head);
        transport.writeHead(101, "", HeaderList.from({ Upgrade: "websocket" }), 0, null);
        const { socket, rest } = transport.takeSocket();
        socket.write(rest);
        socket.on("data", (chunk: Buffer) => socket.write(chunk));
        socket.on("end", () => socket.end());
        return IDLE;
      },
    };
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      Object.setPrototypeOf(socket, Object.create(Socket.prototype) as object);
      assert.ok(
        new Http1ClientConnection(socket, host, {
          serial: 1,
          scheme: "http",
          tls: null,
          proxyProtocolAddress: null,
        }),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const client = await WireClient.open(port);
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await client.answer())?.body, "/1");
    assert.equal((await client.answer())?.body, "/2");
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nab");
    await client.until((text) => text.endsWith("\r\n\r\nab"));
    client.send("cd");
    await client.until((text) => text.endsWith("\r\n\r\nabcd"));
    client.socket.end();
    await client.rest();
    client.close();
    assert.equal(closed, 1);
    await new Promise((resolve) => server.close(resolve));
    deadlines.close();
  });
});

describe("a socket that reads through the shared buffer", () => {
  test("gives its bytes to the reader, and to its stream after the release", async () => {
    const chunks: string[] = [];
    const reader: ByteReader = {
      onBytes: (buffer, length) => chunks.push(buffer.toString("latin1", 0, length)) > 0,
    };
    const server = createServer();
    const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = await WireClient.open((server.address() as AddressInfo).port);
    const socket = readWith(await accepted, reader);
    server.close();
    client.send("one");
    while (chunks.length === 0) await new Promise((resolve) => setImmediate(resolve));
    releaseReader(socket);
    client.send("two");
    const chunk = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    assert.equal(chunk.toString(), "two");
    assert.deepEqual(chunks, ["one"]);
    socket.destroy();
    await client.rest();
    client.close();
  });
});
