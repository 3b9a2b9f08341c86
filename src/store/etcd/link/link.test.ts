import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { EtcdConnection, EtcdConnector, StreamListener } from "../connection.ts";
import type { PausableStream } from "../channel.ts";
import { EtcdFault } from "../faults.ts";
import { LinkConnector } from "./connector.ts";
import { type HubConnection, LinkHub } from "./hub.ts";

type Answer = (bytes: Uint8Array) => Promise<Uint8Array>;

class Stream implements PausableStream {
  readonly listener: StreamListener;
  readonly sent: string[] = [];
  isPaused = false;
  isCancelled = false;
  #wake: () => void = () => {};

  constructor(listener: StreamListener) {
    this.listener = listener;
  }

  send(bytes: Uint8Array): void {
    this.sent.push(text(bytes));
    this.#wake();
  }

  cancel(): void {
    this.isCancelled = true;
    this.#wake();
  }

  pause(): void {
    this.isPaused = true;
    this.#wake();
  }

  resume(): void {
    this.isPaused = false;
    this.#wake();
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }
}

/** Members that answer as the test says. */
class Members {
  readonly count = 2;
  readonly made: Connection[] = [];
  readonly failures: string[] = [];
  answer: Answer = (bytes) => Promise.resolve(bytes);
  onStream: (stream: Stream) => void = () => {};

  connect(): HubConnection {
    const connection = new Connection(this, `member ${this.made.length}`);
    this.made.push(connection);
    return connection;
  }

  failed({ url }: EtcdConnection): void {
    this.failures.push(url);
  }
}

class Connection implements HubConnection {
  readonly url: string;
  isClosed = false;
  readonly closed = Promise.withResolvers<void>();
  readonly #members: Members;

  constructor(members: Members, url: string) {
    this.#members = members;
    this.url = url;
  }

  call(_path: string, bytes: Uint8Array): Promise<Uint8Array> {
    return this.#members.answer(bytes);
  }

  open(_path: string, _token: string | null, listener: StreamListener): Stream {
    const stream = new Stream(listener);
    this.#members.onStream(stream);
    return stream;
  }

  close(): void {
    this.isClosed = true;
    this.closed.resolve();
  }
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const ask = async (connection: EtcdConnection, question: string): Promise<string> =>
  text(await connection.call("/path", Buffer.from(question), null, 1000));
const isDown = (error: unknown): boolean => error instanceof EtcdFault && error.kind === "down";

interface Parts {
  members: Members;
  hub: LinkHub;
  tenant(): { connector: EtcdConnector; port: MessagePort };
}

function start(t: TestContext, now?: () => number): Parts {
  const members = new Members();
  const hub = new LinkHub(members, now);
  return {
    members,
    hub,
    tenant: () => {
      const { port1, port2 } = new MessageChannel();
      t.after(() => port1.close());
      hub.serve(port1);
      const connector = new LinkConnector(members.count);
      connector.attach(port2);
      return { connector, port: port1 };
    },
  };
}

test("all tenants ask over one connection, closed when none needs it any more", async (t) => {
  const { members, tenant } = start(t);
  const [a, b] = [tenant().connector.connect(), tenant().connector.connect()];
  assert.deepEqual(await Promise.all([ask(a, "of a"), ask(b, "of b")]), ["of a", "of b"]);
  assert.equal(members.made.length, 1);
  assert.equal(a.url, "member 0");
  a.close();
  assert.equal(await ask(b, "again"), "again");
  assert.equal(members.made[0].isClosed, false);
  b.close();
  await members.made[0].closed.promise;
  await assert.rejects(ask(a, "closed"), isDown);
  assert.equal(await ask(tenant().connector.connect(), "anew"), "anew");
  assert.equal(members.made.length, 2);
});

test("a member that answers nobody is left by all, once", async (t) => {
  const { members, tenant } = start(t);
  const [first, second] = [tenant().connector, tenant().connector];
  const [a, b] = [first.connect(), second.connect()];
  await Promise.all([ask(a, "of a"), ask(b, "of b")]);
  members.answer = () => Promise.reject(new EtcdFault("down", "Deadline exceeded"));
  await assert.rejects(ask(a, "of a"), isDown);
  await assert.rejects(ask(b, "of b"), isDown);
  assert.deepEqual(members.failures, ["member 0"]);
  members.answer = (bytes) => Promise.resolve(bytes);
  assert.equal(await ask(first.connect(), "on another"), "on another");
  assert.equal(await ask(second.connect(), "on another"), "on another");
  assert.equal(members.made.length, 2);
});

test("what fails for one alone moves no other", async (t) => {
  const { members, tenant } = start(t);
  const [first, second] = [tenant().connector, tenant().connector];
  const [a, b] = [first.connect(), second.connect()];
  const slow = Promise.withResolvers<Uint8Array>();
  members.answer = (bytes) => (text(bytes) === "too much" ? slow.promise : Promise.resolve(bytes));
  const failing = ask(a, "too much");
  const failed = assert.rejects(failing, isDown);
  assert.equal(await ask(b, "meanwhile"), "meanwhile");
  slow.reject(new EtcdFault("down", "Deadline exceeded"));
  await failed;
  a.close();
  assert.equal(await ask(b, "later"), "later");
  assert.equal(await ask(first.connect(), "again"), "again");
  assert.deepEqual([members.made.length, members.failures], [1, []]);
});

test("a stream waits for its own reader, and hears of the end of the connection", async (t) => {
  const { members, tenant } = start(t);
  const opened = Promise.withResolvers<Stream>();
  members.onStream = opened.resolve;
  const connection = tenant().connector.connect();
  const ended = Promise.withResolvers<EtcdFault>();
  let read = 0;
  const own = connection.open("/watch", null, {
    onBytes: (bytes) => {
      read += bytes.length;
    },
    onEnd: ended.resolve,
  });
  own.send(Buffer.from("a watch"));
  const stream = await opened.promise;
  await stream.until(() => stream.sent.length > 0);
  assert.deepEqual(stream.sent, ["a watch"]);
  const chunk = new Uint8Array(1024 * 1024);
  let given = 0;
  // Nothing of it is read before this turn ends.
  for (; !stream.isPaused; given++) stream.listener.onBytes(chunk);
  assert.ok(given > 2 && given < 20, `${given} MiB`);
  await stream.until(() => !stream.isPaused);
  stream.listener.onEnd(new EtcdFault("down", "Connection dropped"));
  assert.equal((await ended.promise).message, "Connection dropped");
  assert.equal(read, given * chunk.length);
  assert.deepEqual(members.failures, ["member 0"]);
});

test("a stream without a first answer tells that its member is silent", async (t) => {
  let nowMs = 0;
  const { members, tenant } = start(t, () => nowMs);
  const opened = Promise.withResolvers<Stream>();
  members.onStream = opened.resolve;
  const connection = tenant().connector.connect();
  const own = connection.open("/watch", null, { onBytes: () => {}, onEnd: () => {} });
  const stream = await opened.promise;
  nowMs = 4000;
  own.cancel();
  await stream.until(() => stream.isCancelled);
  assert.deepEqual(members.failures, ["member 0"]);
});

test("a control thread that dies while its stream begins takes the connection from nobody", async (t) => {
  const { members, tenant } = start(t, () => 0);
  const opened = Promise.withResolvers<Stream>();
  members.onStream = opened.resolve;
  const other = tenant().connector.connect();
  await ask(other, "at first");
  const { connector, port } = tenant();
  connector.connect().open("/watch", null, { onBytes: () => {}, onEnd: () => {} });
  const stream = await opened.promise;
  port.close();
  await stream.until(() => stream.isCancelled);
  assert.equal(await ask(other, "after its death"), "after its death");
  assert.deepEqual([members.made.length, members.failures], [1, []]);
});

test("without the thread that holds the connection all fails at once, until there is another", async (t) => {
  const { members, hub, tenant } = start(t);
  const { connector, port } = tenant();
  members.answer = () => new Promise(() => {});
  const connection = connector.connect();
  const ended = Promise.withResolvers<EtcdFault>();
  connection.open("/watch", null, { onBytes: () => {}, onEnd: ended.resolve });
  const asked = assert.rejects(ask(connection, "never answered"), isDown);
  port.close();
  await asked;
  assert.equal((await ended.promise).kind, "down");
  await assert.rejects(ask(connection, "later"), isDown);
  assert.throws(() => connector.connect(), isDown);
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close());
  hub.serve(port1);
  (connector as LinkConnector).attach(port2);
  members.answer = (bytes) => Promise.resolve(bytes);
  assert.equal(await ask(connector.connect(), "anew"), "anew");
});
