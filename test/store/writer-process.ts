/**
 * Child process of `kill.test.ts`: writes to a store as fast as it can, and says each acknowledged write
 * on its standard output ("number revision"), until it is killed.
 */

import { writeSync } from "node:fs";
import { EmbeddedStore } from "../../src/store/embedded/store.ts";

const [file, start] = process.argv.slice(2) as [string, string];
const IN_FLIGHT = 8;
const store = new EmbeddedStore({ file, historyRevisions: 1000, historyDays: 30 });
let next = Number(start);

async function writeOn(): Promise<never> {
  for (;;) {
    const number = next++;
    const revision = await store.write([
      { type: "put", key: `/n/${number}`, value: String(number) },
      { type: "put", key: "/newest", value: String(number) },
    ]);
    writeSync(1, `${number} ${revision}\n`);
  }
}

await Promise.all(Array.from({ length: IN_FLIGHT }, writeOn));
