/**
 * Which gateway this is among those that share its store: a number of its data folder, made once, and behind it one of the
 * process, since two processes of a folder run beside each other during an upgrade.
 */

import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FILE = "gateway.id";
const ID = /^[0-9a-f]{16}$/;
const PROCESS = /^(\d+)-(\d+)$/;
/** Of /proc/<pid>/stat behind the name: when the process began (proc(5), starttime). */
const START_FIELD = 19;

/** "4f1d2a9c0b7e6351.812-1763732". Throws what the file system throws. */
export function gatewayId(dataFolder: string): string {
  const file = join(dataFolder, FILE);
  let id = "";
  try {
    id = readFileSync(file, "utf8").trim();
  } catch {
    // The first start of this data folder.
  }
  if (!ID.test(id)) {
    id = randomBytes(8).toString("hex");
    writeFileSync(file, `${id}\n`, { mode: 0o600 });
  }
  return `${id}.${process.pid}-${startOf(process.pid) ?? 0}`;
}

/** Whether it is another process of the same data folder. */
export function isSibling(other: string, own: string): boolean {
  return other !== own && other.split(".", 1)[0] === own.split(".", 1)[0];
}

/** Whether the process of this sibling ended. */
export function hasEnded(sibling: string): boolean {
  const [, process = ""] = sibling.split(".", 2);
  const [, pid, start] = PROCESS.exec(process) ?? [];
  return pid === undefined || startOf(Number(pid)) !== start;
}

/** Undefined: there is no such process, it ended and its parent was not told yet, or there is no such file on this system. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name may hold spaces and parentheses.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[START_FIELD];
  } catch {
    return undefined;
  }
}
