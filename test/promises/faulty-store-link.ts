/**
 * The real thread that holds the connection to the store, which also does what the file that the environment names asks
 * of it: "throw" or "loop".
 */

import { existsSync, readFileSync, rmSync } from "node:fs";

const LOOK_MS = 10;
const file = process.env["CARDEA_TEST_FAULT"]!;

setInterval(() => {
  if (!existsSync(file)) return;
  const fault = readFileSync(file, "utf8");
  if (fault === "") return;
  rmSync(file);
  if (fault === "throw") throw new Error("thrown on purpose");
  for (;;);
}, LOOK_MS);

await import("../../src/store/etcd/link/main.ts");
