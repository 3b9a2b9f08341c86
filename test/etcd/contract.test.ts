/** The contract of stores, kept by the one over a real etcd. */

import { after, test } from "node:test";
import { EtcdStore } from "../../src/store/etcd/store.ts";
import { testStoreContract } from "../../src/store/testkit.ts";
import { EtcdCluster, WITHOUT_ETCD } from "./members.ts";
import { storeOptions } from "./stores.ts";

if (WITHOUT_ETCD === false) {
  const cluster = await EtcdCluster.start({ after });
  let number = 0;
  testStoreContract("etcd store", async () => {
    const options = storeOptions(cluster.endpoints, { prefix: `/store${number++}` });
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
} else {
  test("etcd store", { skip: WITHOUT_ETCD }, () => {});
}
