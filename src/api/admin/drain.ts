/**
 * `POST /upstreams/{id}/nodes/{host:port}/drain`: takes a node out on every gateway of the store, `DELETE` puts it back, `GET`
 * tells what runs there, and where.
 *
 * `?wait=drained` answers when no worker of any gateway that reports begins anything there and nothing runs any more, or
 * with 504 and what is left where when `timeout` (seconds, 30 by default) is over; the node stays drained then, too.
 * `?gateways=3`: as long as fewer report, somebody is missing. The last node that serves is drained only with `?force=true`.
 *
 * The drain is a resource of the store, so gateways that cannot report leave the node as well; they are only not waited for.
 */

import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { TakeDown } from "../../control/gateways/open.ts";
import { type GatewayReport, readReport } from "../../control/gateways/report.ts";
import type { DrainState } from "../../control/health/drains.ts";
import type { ConfigurationState } from "../../control/state.ts";
import { upstreamsOf } from "../../control/upstreams-in-service.ts";
import { drainId, drainType } from "../../model/drain.ts";
import type { JsonObject } from "../../model/resource-type.ts";
import { StoreUnavailableError } from "../../store/contract.ts";
import { isRefusal, readPlace, readTimeout, refusalOfLast, splitNode } from "../drain-place.ts";
import { type Answer, AnswerError, KEY_NOT_FOUND, refuse, refuseScope } from "./answer.ts";
import { lastOf, type Query } from "./query.ts";
import type { KeyScope } from "./scope.ts";
import type { WriteRequest } from "./write-plan.ts";
import type { ResourceWriter } from "./writing.ts";

export interface DrainCall {
  method: string;
  /** Of the upstream. */
  id: string;
  /** "host:port" */
  node: string;
  query: Query;
  author: string;
  scope: KeyScope | null;
  /** The client has left: nobody waits for the answer. */
  isAbandoned(): boolean;
}

const LOOK_EVERY_MS = 100;
/** Of the reports for those who wait, which may be many at a time: what they wait for stays so once it was told. */
const MAX_REPORTS_AGE_MS = 50;
const MAX_GATEWAYS = 100_000;

interface GatewayState {
  id: string;
  hostname: string;
  drained: boolean;
  in_flight: number | null;
  workers: { worker: number; in_flight: number | null }[];
}

/** Null: the path is none of these. */
export function drainPath(steps: readonly string[]): { id: string; node: string } | null {
  const [type, id, nodes, node, drain] = steps;
  if (steps.length !== 5 || type !== "upstreams" || nodes !== "nodes" || drain !== "drain") return null;
  return { id, node };
}

export class ClusterDrains {
  readonly #state: ConfigurationState;
  readonly #writer: ResourceWriter;
  readonly #parts: TakeDown;
  #listed: { atMs: number; reports: Promise<ReadonlyMap<string, string>> } | null = null;

  constructor(state: ConfigurationState, writer: ResourceWriter, parts: TakeDown) {
    this.#state = state;
    this.#writer = writer;
    this.#parts = parts;
  }

  /** `revision`: of the store, where something was written. Throws `AnswerError`, and what the store throws. */
  async handle(call: DrainCall): Promise<{ answer: Answer; revision?: number }> {
    const outside = this.#refusalOf(call);
    if (outside !== null) return { answer: refuseScope(outside) };
    switch (call.method) {
      case "GET":
        return { answer: await this.#tell(call) };
      case "POST":
        return await this.#drain(call);
      case "DELETE":
        return await this.#undo(call);
      default:
        return { answer: refuse(405, `not supported \`${call.method}\` method for drain`) };
    }
  }

  #refusalOf({ scope, id }: DrainCall): string | null {
    const upstream = this.#state.get("upstreams", id);
    return (
      scope?.refusalOfType(drainType) ??
      (upstream && scope?.refusalOfParent(upstream.type, this.#state.plain(upstream) ?? {})) ??
      null
    );
  }

  async #tell(call: DrainCall): Promise<Answer> {
    const { host, port, drain } = this.#held(call);
    if (drain === null) return KEY_NOT_FOUND;
    return {
      status: 200,
      body: await this.#look(call.id, host, port, drain.mark, gatewaysOf(call.query), 0),
    };
  }

  async #drain(call: DrainCall): Promise<{ answer: Answer; revision?: number }> {
    const { id, node, query } = call;
    const timeoutMs = readTimeout(lastOf(query["wait"]), lastOf(query["timeout"]));
    const expected = gatewaysOf(query);
    const place = readPlace(upstreamsOf(this.#state, this.#parts.discoveries), id, node);
    if (typeof timeoutMs === "object") return { answer: refuse(timeoutMs.status, timeoutMs.message) };
    if (isRefusal(place)) return { answer: refuse(place.status, place.message) };
    const { host, port } = place;
    let { drain } = this.#held(call);
    let revision: number | undefined;
    if (drain === null) {
      const last = lastOf(query["force"]) === "true" ? null : refusalOfLast(place, this.#parts.drains);
      if (last !== null) return { answer: refuse(last.status, last.message) };
      drain = { mark: randomBytes(8).toString("hex") };
      const body = { upstream_id: id, host, port, mark: drain.mark, author: call.author };
      const outcome = await this.#write("PUT", call, drainId(id, host, port), body);
      if (outcome.revision === undefined) return outcome;
      revision = outcome.revision;
    }
    const answer = await this.#wait(call, host, port, drain.mark, expected, timeoutMs);
    return revision === undefined ? { answer } : { answer, revision };
  }

  async #undo(call: DrainCall): Promise<{ answer: Answer; revision?: number }> {
    const { host, port, drain } = this.#held(call);
    if (drain === null) return { answer: KEY_NOT_FOUND };
    const outcome = await this.#write("DELETE", call, drainId(call.id, host, port), undefined);
    if (outcome.revision === undefined) return outcome;
    return { answer: { status: 200, body: { drained: false } }, revision: outcome.revision };
  }

  #write(
    method: "PUT" | "DELETE",
    { author, scope }: DrainCall,
    id: string,
    body: JsonObject | undefined,
  ): Promise<{ answer: Answer; revision?: number }> {
    const target = { type: drainType, id, parent: null, subPath: "" };
    const conditions = { ttl: undefined, force: false, ifMatch: undefined };
    const request: WriteRequest = { method, target, body, ...conditions, author, scope };
    return this.#writer.write(request);
  }

  /** The drain of this node in the store; null: it is not drained. */
  #held({ id, node }: DrainCall): { host: string; port: number; drain: { mark: string } | null } {
    const split = splitNode(node);
    if (split === null) throw new AnswerError(refuse(400, `node: given "${node}", expected host:port`));
    const published =
      this.#state.get(drainType.plural, drainId(id, split.host, split.port))?.published ?? null;
    return { ...split, drain: published === null ? null : (JSON.parse(published) as { mark: string }) };
  }

  /** Looks until nothing is left, or the time is over. A store that is away for a moment is asked again. */
  async #wait(
    { id, isAbandoned }: DrainCall,
    host: string,
    port: number,
    mark: string,
    expected: number,
    timeoutMs: number,
  ): Promise<Answer> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      let body: { drained: boolean } | null = null;
      try {
        body = await this.#look(id, host, port, mark, expected, MAX_REPORTS_AGE_MS);
        if (body.drained || timeoutMs === 0) return { status: 200, body };
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        const message = `the node is taken out, but what other gateways report cannot be read: ${error.message}`;
        if (performance.now() >= endMs) return refuse(503, message);
      }
      if (body !== null && (performance.now() >= endMs || isAbandoned())) return { status: 504, body };
      await new Promise((resolve) => {
        setTimeout(resolve, LOOK_EVERY_MS);
      });
    }
  }

  async #look(
    id: string,
    host: string,
    port: number,
    mark: string,
    expected: number,
    maxAgeMs: number,
  ): Promise<{ drained: boolean }> {
    const { drains, gatewayId } = this.#parts;
    const own = stateOf(gatewayId, hostname(), await drains.state(id, host, port));
    const gateways: GatewayState[] = [own];
    for (const [key, text] of await this.#reports(maxAgeMs)) {
      if (key !== gatewayId)
        gateways.push(reportedState(key, readReport(text), drainId(id, host, port), mark));
    }
    const missing = Math.max(0, expected - gateways.length);
    return {
      drained: missing === 0 && gateways.every(({ drained }) => drained),
      ...(missing > 0 && { missing_gateways: missing }),
      in_flight: gateways.reduce((sum, each) => sum + (each.in_flight ?? 0), 0),
      gateways,
    } as { drained: boolean };
  }

  #reports(maxAgeMs: number): Promise<ReadonlyMap<string, string>> {
    const { reports } = this.#parts;
    if (reports === null) return Promise.resolve(new Map());
    const now = performance.now();
    if (this.#listed === null || now - this.#listed.atMs >= maxAgeMs)
      this.#listed = { atMs: now, reports: reports.list() };
    return this.#listed.reports;
  }
}

function stateOf(id: string, name: string, { isDrained, inFlight, workers }: DrainState): GatewayState {
  const shown = workers.map(({ worker, inFlight: count }) => ({ worker, in_flight: count }));
  return { id, hostname: name, drained: isDrained, in_flight: inFlight, workers: shown };
}

/** What has not acknowledged this drain may have anything running there. */
function reportedState(id: string, report: GatewayReport | null, drain: string, mark: string): GatewayState {
  const told = report !== null && Object.hasOwn(report.drains, drain) ? report.drains[drain] : undefined;
  const name = report?.hostname ?? "";
  if (told?.mark !== mark) return { id, hostname: name, drained: false, in_flight: null, workers: [] };
  return stateOf(id, name, told);
}

function gatewaysOf(query: Query): number {
  const text = lastOf(query["gateways"]) ?? "1";
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_GATEWAYS) return count;
  const message = `gateways: given "${text}", expected a whole number from 1 to ${MAX_GATEWAYS}`;
  throw new AnswerError(refuse(400, message));
}
