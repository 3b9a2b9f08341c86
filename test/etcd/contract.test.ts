/** The contract of stores, kept by the one over a real etcd. */

import { after, test } from "node:test";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { DirectConnector } from "../../src/store/etcd/channel.ts";
import type { EtcdConnector } from "../../src/store/etcd/connection.ts";
import { LinkConnector } from "../../src/store/etcd/link/connector.ts";
import { LinkHub } from "../../src/store/etcd/link/hub.ts";
import { EtcdStore } from "../../src/store/etcd/store.ts";
import { testStoreContract } from "../../src/store/testkit.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { storeOptions } from "./stores.ts";

if (WITHOUT_ETCD === false) {
  const cluster = await EtcdCluster.start({ after });
  let number = 0;
  const direct = { endpoints: cluster.endpoints, avoidFailedMs: 10_000, tls: null };
  const hub = new LinkHub(new DirectConnector(direct));
  const ports: MessagePort[] = [];
  after(() => {
    for (const port of ports) port.close();
  });
  const connectors: Record<string, () => EtcdConnector> = {
    "etcd store": () => new DirectConnector(direct),
    "etcd store over the connection that tenants share": () => {
      const { port1, port2 } = new MessageChannel();
      hub.serve(port1);
      ports.push(port1);
      const connector = new LinkConnector(1);
      connector.attach(port2);
      return connector;
    },
  };
  for (const [name, connectorOf] of Object.entries(connectors)) {
    testStoreContract(name, async () => {
      const connector = connectorOf();
      const options = storeOptions([], { prefix: `/store${number++}`, connector });
      let store = new EtcdStore(options);
      // A remote store is known after the first load.
      await store.load();
      return {
        store,
        reopen: async () => {
          await store.close();
          store = new EtcdStore(options);
          await store.load();
          return store;
        },
        dispose: () => store.close(),
      };
    });
  }
} else {
  test("etcd store", { skip: WITHOUT_ETCD }, () => {});
}
