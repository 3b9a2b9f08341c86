/**
 * `cardea diff` and `cardea apply`: the resources of a file against those of a node.
 *
 * A plan is made by the node and shown; it is applied only if nothing has changed since, in one step or not at all.
 * Deleted is only what is asked for: with `--prune`, what the file does not name of the types that it has lists of; with
 * `--prune --select`, what it does not name of all that carries these labels.
 */

import { refusalText, type Connection, type Reply } from "./connection.ts";
import { impactText, planText, type Plan } from "./plan-text.ts";
import { ResourceFile } from "./resource-file.ts";
import { CommandError, DONE, MISUSED, type Terminal, WRONG } from "./terminal.ts";

export interface ApplyOptions {
  file: string;
  prune: boolean;
  /** "team=a" each. */
  select: readonly string[];
  isDryRun: boolean;
  json: boolean;
}

interface Batch {
  writes: { key: string; value: unknown }[];
  prune?: { types: string[] } | { labels: Record<string, string> };
}

interface BatchError {
  key: string;
  error_msg: string;
  description?: string;
  pointer?: string;
}

const CONFLICT = 412;
const NOT_LIVE = 504;

export async function diff(
  options: ApplyOptions,
  connection: Connection,
  terminal: Terminal,
): Promise<number> {
  try {
    const plan = await planOf(options, connection, terminal);
    print(plan, options, terminal);
    return plan.changes.length === 0 ? DONE : WRONG;
  } catch (error) {
    // 1 says that there are differences.
    if (error instanceof CommandError) throw new CommandError(error.message, MISUSED);
    throw error;
  }
}

export async function apply(
  options: ApplyOptions,
  connection: Connection,
  terminal: Terminal,
): Promise<number> {
  const file = readFile(options, terminal);
  const batch = batchOf(file, options);
  const reply = await connection.admin({ method: "POST", path: "/batch?dry_run=true", body: batch });
  const plan = accepted(reply, file);
  if (plan.changes.length === 0 || options.isDryRun) {
    print(plan, options, terminal);
    return DONE;
  }
  if (!options.json) terminal.stdout.write(planText(plan));
  const headers = { "if-match": reply.etag! };
  const done = await connection.admin({ method: "POST", path: "/batch?wait=live", body: batch, headers });
  if (done.status === CONFLICT) {
    throw new CommandError(
      "the configuration was changed by others since the plan; nothing was applied: try again",
    );
  }
  if (done.status === NOT_LIVE) throw new CommandError(refusalText(done));
  const { revision } = accepted(done, file);
  if (options.json) terminal.stdout.write(`${JSON.stringify(done.body)}\n`);
  else terminal.stdout.write(`applied: revision ${revision}, live on every worker\n`);
  return DONE;
}

async function planOf(options: ApplyOptions, connection: Connection, terminal: Terminal): Promise<Plan> {
  const file = readFile(options, terminal);
  const body = batchOf(file, options);
  return accepted(await connection.admin({ method: "POST", path: "/batch?dry_run=true", body }), file);
}

function readFile({ file: name }: ApplyOptions, terminal: Terminal): ResourceFile {
  const file = new ResourceFile(name, terminal.env);
  for (const warning of file.warnings) terminal.stderr.write(`warning: ${warning}\n`);
  return file;
}

function batchOf(file: ResourceFile, { prune, select }: ApplyOptions): Batch {
  const batch: Batch = { writes: file.writes };
  if (!prune) {
    if (select.length > 0)
      throw new CommandError("--select chooses what --prune deletes; give both", MISUSED);
    return batch;
  }
  if (select.length > 0) {
    batch.prune = { labels: labelsOf(select) };
    return batch;
  }
  const types = file.types;
  if (types.length === 0) throw new CommandError("--prune: the file names no type of resource", MISUSED);
  batch.prune = { types };
  return batch;
}

function print(plan: Plan, { json }: ApplyOptions, terminal: Terminal): void {
  terminal.stdout.write(json ? `${JSON.stringify(plan)}\n` : planText(plan) + impactText(plan));
}

/** Refusals are told with their places in the file. */
function accepted(reply: Reply, file: ResourceFile): Plan {
  if (reply.status === 200) return reply.body as Plan;
  const { errors } = (reply.body ?? {}) as { errors?: BatchError[] };
  if (errors === undefined) throw new CommandError(`the node refuses: ${refusalText(reply)}`);
  const refusals = errors.map(({ key, error_msg: message, description, pointer }) => ({
    key: key.replace(/^\/apisix/, ""),
    message: description === undefined ? message : `${message}: ${description}`,
    pointer: pointer ?? "",
  }));
  throw new CommandError(`${file.located(refusals)}\nthe node refuses: ${refusalText(reply)}`);
}

function labelsOf(select: readonly string[]): Record<string, string> {
  const entries = select.map((text) => {
    const at = text.indexOf("=");
    if (at < 1 || at === text.length - 1) {
      throw new CommandError(`--select: given ${JSON.stringify(text)}, expected label=value`, MISUSED);
    }
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  return Object.fromEntries(entries);
}
