import assert from "node:assert/strict";
import { test } from "node:test";
import type { Log } from "../../lib/log.ts";
import { refuse } from "./answer.ts";
import { ANONYMOUS_LINES, AuditTrail } from "./audit.ts";

const STRANGER = { author: null, address: "192.0.2.1", method: "PUT", path: "/routes/1" };
const WINDOW_MS = 10_000;

function trail() {
  const lines: Record<string, unknown>[] = [];
  const log = {
    info: (message: string, fields?: Record<string, unknown>) => lines.push({ message, ...fields }),
  } as unknown as Log;
  let suppressed = 0;
  return { lines, trail: new AuditTrail(log, () => suppressed++), suppressed: () => suppressed };
}

test("a flood of strangers is counted, not written, and told once per window", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { lines, trail: audit, suppressed } = trail();
  const flood = 10 * ANONYMOUS_LINES;
  for (let i = 0; i < flood; i++) audit.write(STRANGER, refuse(401, "failed to check token"));
  assert.equal(lines.length, ANONYMOUS_LINES);
  assert.equal(suppressed(), flood - ANONYMOUS_LINES);
  t.mock.timers.tick(WINDOW_MS);
  assert.equal(lines.length, ANONYMOUS_LINES + 1);
  assert.deepEqual(lines.at(-1), {
    message: "admin writes without a key",
    author: null,
    suppressed: flood - ANONYMOUS_LINES,
  });
  // The next window has its own lines, and nothing to tell when there was no flood.
  audit.write(STRANGER, refuse(401, "failed to check token"));
  t.mock.timers.tick(WINDOW_MS);
  assert.equal(lines.length, ANONYMOUS_LINES + 2);
});

test("writes with a key have their line, also in a flood of strangers", () => {
  const { lines, trail: audit } = trail();
  for (let i = 0; i < 2 * ANONYMOUS_LINES; i++) audit.write(STRANGER, refuse(401, "failed to check token"));
  for (let i = 0; i < 100; i++) audit.write({ ...STRANGER, author: "admin" }, { status: 200, body: {} }, i);
  assert.equal(lines.filter(({ author }) => author === "admin").length, 100);
  audit.close();
  assert.equal(lines.at(-1)!["suppressed"], ANONYMOUS_LINES);
});

test("a line names as many resources as leave it whole, and tells of how many", () => {
  const { lines, trail: audit } = trail();
  const resources = Array.from({ length: 5000 }, (_, i) => `create /routes/${i}`);
  audit.write({ ...STRANGER, author: "admin", subject: { resources } }, { status: 200, body: {} }, 1);
  const { resources: named, resources_total: total } = lines[0] as {
    resources: string[];
    resources_total: number;
  };
  assert.equal(total, 5000);
  assert.ok(named.length > 50 && JSON.stringify(lines[0]).length < 4096);
  audit.write({ ...STRANGER, author: "admin", subject: { resources: ["/routes/1"] } }, { status: 200 });
  assert.deepEqual([lines[1]["resources"], "resources_total" in lines[1]], [["/routes/1"], false]);
});
