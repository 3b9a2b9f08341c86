/**
 * What a process and everything below it costs: CPU time and memory, from /proc.
 *
 * CPU time counts all threads, those that ended too, and is split into user and system as the kernel does
 * it. Its resolution is a clock tick (10 ms), so a measurement should last for seconds. Memory is PSS where
 * possible: pages that several processes share are counted once in the sum.
 */

import { readFileSync, readdirSync } from "node:fs";

/** `USER_HZ`, which is 100 on every architecture that Node.js runs on. */
const TICK_US = 10_000;

export interface CpuTimes {
  userUs: number;
  systemUs: number;
}

export interface ProcessStat extends CpuTimes {
  parent: number;
}

/** Reads the text of /proc/PID/stat (proc(5)); the name in parentheses may hold anything. */
export function parseStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return {
    parent: Number(fields[1]),
    userUs: Number(fields[11]) * TICK_US,
    systemUs: Number(fields[12]) * TICK_US,
  };
}

/** The process and all its descendants. */
export function treeOf(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(Number(name));
    if (stat !== null) parents.set(Number(name), stat.parent);
  }
  const tree = [root];
  for (const pid of tree) {
    for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  }
  return tree;
}

/** CPU time that the tree has used so far. */
export function cpuOf(root: number): CpuTimes {
  let userUs = 0;
  let systemUs = 0;
  for (const pid of treeOf(root)) {
    const stat = readStat(pid);
    userUs += stat?.userUs ?? 0;
    systemUs += stat?.systemUs ?? 0;
  }
  return { userUs, systemUs };
}

/**
 * CPU time of all threads of the tree, user and system together, in µs. Exact to the nanosecond where `cpuOf` counts
 * ticks of 10 ms, but a thread that has ended is not in it: for short turns, between which none ends.
 */
export function runTimeUs(root: number): number {
  let total = 0;
  for (const pid of treeOf(root)) {
    let threads: string[];
    try {
      threads = readdirSync(`/proc/${pid}/task`);
    } catch {
      continue; // ended meanwhile
    }
    for (const thread of threads) total += runTimeOf(`/proc/${pid}/task/${thread}/schedstat`);
  }
  return total;
}

function runTimeOf(file: string): number {
  try {
    return Number(readFileSync(file, "latin1").split(" ", 1)[0]) / 1000;
  } catch {
    return 0; // ended meanwhile
  }
}

/** Memory of the tree in MiB. */
export function memoryOf(root: number): { pssMb: number; rssMb: number } {
  let pssKb = 0;
  let rssKb = 0;
  for (const pid of treeOf(root)) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    } catch {
      continue; // ended meanwhile
    }
    pssKb += Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0);
    rssKb += Number(/^Rss:\s+(\d+) kB/m.exec(text)?.[1] ?? 0);
  }
  return { pssMb: pssKb / 1024, rssMb: rssKb / 1024 };
}

function readStat(pid: number): ProcessStat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return null; // ended between the listing and the reading
  }
}
