/** Runs a load generator to its end and gives what it printed. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** Resolves with the standard output; rejects when the generator fails or takes `timeoutMs`. */
export async function runGenerator(
  taskset: string,
  cores: string,
  command: readonly string[],
  timeoutMs: number,
): Promise<string> {
  const { stdout } = await run(taskset, ["-c", cores, ...command], {
    maxBuffer: MAX_OUTPUT_BYTES,
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  return stdout;
}
