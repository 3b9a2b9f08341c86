/** Asks a thread of a node for a collection of its garbage (`collecting-thread.ts`), so that what is left is what is kept. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Collected } from "./collecting-thread.ts";
import type { RealNode } from "./real-node.ts";

const LOOK_MS = 10;

/** `slot`: of a worker; -1: control. Ends when it is done. */
export async function collect(node: RealNode, slot: number): Promise<Collected> {
  const wish = join(node.folder, `collect-${slot}`);
  writeFileSync(wish, "");
  while (existsSync(wish)) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  return JSON.parse(readFileSync(join(node.folder, `collected-${slot}`), "utf8")) as Collected;
}
