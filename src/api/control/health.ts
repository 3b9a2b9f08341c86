/**
 * `GET /v1/healthcheck[/{routes | services | upstreams | stream_routes}/{id}]`: what the health checker knows of
 * the nodes of each resource that has `checks`, as JSON, or as a table for browsers (`Accept: text/html`).
 */

import type { HealthReport, NodeHealth } from "../../control/health/report.ts";
import type { ConfigurationState, StateEntry } from "../../control/state.ts";
import { isObject } from "../../model/resource-type.ts";

export interface CheckerInfo {
  /** "/apisix/routes/1"; "/routes/1" where resources come from a file. */
  name: string;
  type: string | undefined;
  nodes: NodeHealth[];
}

const CHECKED = ["routes", "stream_routes", "services", "upstreams"] as const;

/** All resources with checks. */
export function checkers(state: ConfigurationState, report: HealthReport): CheckerInfo[] {
  const infos: CheckerInfo[] = [];
  for (const plural of CHECKED) {
    for (const entry of state.list(plural)) {
      const info = checkerOf(entry, report);
      if (info !== null) infos.push(info);
    }
  }
  return infos;
}

/** One resource, or the status and text that APISIX answers instead. */
export function checker(
  state: ConfigurationState,
  report: HealthReport,
  plural: string,
  id: string | undefined,
): CheckerInfo | { status: number; error: string } {
  if (id === undefined || id === "") return { status: 404, error: `missing src id for src type ${plural}` };
  if (!(CHECKED as readonly string[]).includes(plural))
    return { status: 400, error: `invalid src type ${plural}` };
  const entry = state.get(plural, id);
  if (entry === undefined) return { status: 404, error: `${plural}[${id}] not found` };
  return checkerOf(entry, report) ?? { status: 404, error: `no checker for ${plural}[${id}]` };
}

/** Null: it has no checks, or is not in service. */
function checkerOf(entry: StateEntry, report: HealthReport): CheckerInfo | null {
  // Most resources have none: a look at the text spares the parsing.
  if (!entry.text.includes('"checks"')) return null;
  // Not the text of the store: it may be anything, and what is not in service is not checked.
  const checks = entry.published === null ? null : checksOf(JSON.parse(entry.published));
  if (checks === null) return null;
  return {
    name: (report.prefix ?? "/apisix") + entry.key,
    type: typeOf(checks),
    nodes: report.nodesOf(entry.key),
  };
}

function checksOf(value: unknown): Record<string, unknown> | null {
  if (!isObject(value)) return null;
  if (isObject(value["checks"])) return value["checks"];
  return isObject(value["upstream"]) && isObject(value["upstream"]["checks"])
    ? value["upstream"]["checks"]
    : null;
}

function typeOf(checks: Record<string, unknown>): string | undefined {
  for (const kind of [checks["active"], checks["passive"]]) {
    if (isObject(kind) && typeof kind["type"] === "string") return kind["type"];
  }
  return undefined;
}

const COLUMNS = [
  "Index",
  "Upstream",
  "Check type",
  "Host",
  "Status",
  "Success counts",
  "TCP failures",
  "HTTP failures",
  "Timeout failures",
];

/** A page with one row per node; unhealthy ones stand out. */
export function healthPage(infos: readonly CheckerInfo[]): string {
  const rows: string[] = [];
  for (const { name, type, nodes } of infos) {
    for (const { ip, port, status, counter } of nodes) {
      const { success, tcp_failure, http_failure, timeout_failure } = counter;
      const cells = [rows.length + 1, name, type ?? "", `${ip}:${port}`, status];
      const counts = [success, tcp_failure, http_failure, timeout_failure];
      const mark = status.endsWith("unhealthy") ? ' style="background:#f99"' : "";
      rows.push(
        `<tr${mark}>${[...cells, ...counts].map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`,
      );
    }
  }
  const head = COLUMNS.map((column) => `<th>${column}</th>`).join("");
  const title = "Health of upstream nodes";
  return (
    `<!doctype html>\n<html><head><meta charset="utf-8"><title>${title}</title></head><body><h1>${title}</h1>\n` +
    `<table border="1" cellpadding="3" cellspacing="0"><tr>${head}</tr>\n${rows.join("\n")}\n</table></body></html>\n`
  );
}

function escapeHtml(value: string | number): string {
  return String(value).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
