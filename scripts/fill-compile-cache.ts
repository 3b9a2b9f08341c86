/**
 * Fills a compile cache for the nodes that tests start: `fill-compile-cache.ts FOLDER`. What is compiled with other flags
 * than a node's is of no use to it, so this starts itself again with those.
 */

import { spawnSync } from "node:child_process";
import { fillCompileCache } from "../src/supervisor/compile-cache.ts";

const [folder] = process.argv.slice(2);
const { NODE_FLAGS } = (await import(new URL("../bin/lib/find-node.js", import.meta.url).href)) as {
  NODE_FLAGS: string[];
};

if (NODE_FLAGS.every((flag) => process.execArgv.includes(flag))) {
  const threads = ["data/worker.ts", "control/main.ts", "supervisor/main.ts"];
  await fillCompileCache(
    folder,
    threads.map((path) => new URL(`../src/${path}`, import.meta.url)),
  );
} else {
  const args = [...NODE_FLAGS, import.meta.filename, folder];
  process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
}
