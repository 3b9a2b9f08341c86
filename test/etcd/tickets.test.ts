/** Two gateways on one etcd: a session that began at one goes on at the other, and the key is for nobody to read. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { connect } from "node:tls";
import { withTls } from "../promises/real-node.ts";
import { Authority, hasOpenssl } from "../tls/certificate-authority.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { startNode, until } from "./nodes.ts";

interface Shaken {
  session: Buffer;
  isReused: boolean;
}

const skip = WITHOUT_ETCD || (hasOpenssl ? false : "there is no openssl");

describe("session tickets of nodes on one etcd", { skip }, () => {
  test("open sessions at each of them, also after one was started anew", async (t) => {
    const cluster = await EtcdCluster.start(t);
    const start = async () => {
      const addTls = await withTls();
      return await startNode(t, cluster.endpoints, (config) => {
        addTls(config);
        config.tls.sessionTickets = true;
      });
    };
    const [first, second] = await Promise.all([start(), start()]);
    await first.put("/ssls/1", { sni: "a.com", ...Authority.make(t).issue({ names: ["a.com"] }) });

    const shake = async (port: number, session?: Buffer): Promise<Shaken | null> => {
      const socket = connect({
        host: "127.0.0.1",
        port,
        servername: "a.com",
        rejectUnauthorized: false,
        maxVersion: "TLSv1.2",
        ...(session && { session }),
      });
      try {
        await once(socket, "secureConnect");
        return { session: socket.getSession()!, isReused: socket.isSessionReused() };
      } catch {
        return null;
      } finally {
        socket.destroy();
      }
    };
    /** A session of one node opens one at the other, as soon as both have the key. */
    const shares = async (from: number, to: number): Promise<boolean> => {
      const session = (await shake(from))?.session;
      return session !== undefined && (await shake(to, session))?.isReused === true;
    };
    const [a, b] = [first.port("https"), second.port("https")];
    await until(() => shares(a, b));
    await until(() => shares(b, a));
    const kept = (await shake(a))!.session;
    await first.kill();
    await second.kill();

    const third = await start();
    await until(async () => (await shake(third.port("https"), kept))?.isReused === true);

    const keys = await cluster.ctl("get", "--prefix", "/", "--keys-only");
    assert.equal(keys.split("\n").filter((key) => key.includes("ticket")).length, 1);
    const stored = JSON.parse(
      await cluster.ctl("get", "/apisix/cardea_ticket_key/1", "--print-value-only"),
    ) as {
      key: string;
    };
    assert.ok(Buffer.from(stored.key, "base64").length > 48);
    assert.equal((await third.admin("GET", "/cardea_ticket_key/1")).status, 404);
  });
});
