/** Long texts, which a thread of their own reads: what is read is the same as what is read at once. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { yaml } from "../lib/yaml.ts";
import { ConfigError } from "./config-error.ts";
import { readSource, type SourceRules } from "./source.ts";
import { openSource, parseYaml, type WantedPlace } from "./yaml-thread.ts";

const RULES: SourceRules = { maxBytes: 1024 * 1024, maxAliases: 100, quotesKeepText: true };
const NEVER = new AbortController().signal;

/** Longer than what is read at once. */
function routes(extra = ""): string {
  const items = Array.from({ length: 600 }, (_, i) => `  - { id: ${i}, uri: "/${i}/ü€𝄞", on: yes }\n`);
  return `routes:\n${items.join("")}${extra}`;
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return assert.fail("nothing was thrown");
}

test("a long file has the data and the places that it has when it is read at once", async () => {
  const text = routes(`  - { id: last, uri: "\${{PLACE}}" }\nshared: &a { x: 1 }\nagain: *a\n`);
  const env = { PLACE: "/here" };
  const source = await openSource("a.yaml", text, env, RULES, NEVER);
  try {
    const atOnce = readSource("a.yaml", text, env, RULES);
    assert.deepEqual(source.data, atOnce.data);
    assert.deepEqual((source.data["routes"] as object[])[600], { id: "last", uri: "/here" });
    const wanted: WantedPlace[] = [
      { path: ["routes", 600, "uri"], ofKey: false },
      { path: ["routes", 3], ofKey: false },
      { path: ["again", "x"], ofKey: true },
      { path: ["nothing"], ofKey: false },
    ];
    const places = await source.places(wanted);
    assert.deepEqual(
      places,
      wanted.map(({ path, ofKey }) => atOnce.place(path, ofKey)),
    );
    assert.equal(places[0].line, 602);
  } finally {
    await source.end();
  }
});

test("what is wrong with a long file is told in the same words, with its place", async () => {
  for (const text of [
    routes("routes: []\n"),
    routes("  - [\n"),
    routes("a: ${{NOT_SET}}\n"),
    `[${routes()}]`,
  ]) {
    const expected = messageOf(() => readSource("a.yaml", text, {}, RULES));
    await assert.rejects(openSource("a.yaml", text, {}, RULES, NEVER), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.message, expected);
      return true;
    });
  }
});

test("a file beyond the limit is refused without being read", async () => {
  const rules = { ...RULES, maxBytes: 20_000 };
  await assert.rejects(openSource("a.yaml", routes(routes()), {}, rules, NEVER), /more than 20000 bytes/);
});

test("plain YAML is the same value, and is refused in the parser's words", async () => {
  const text = routes("none: null\ndeep: { a: [1, [2.5, true, 'yes']] }\n1: number\n");
  assert.deepEqual(await parseYaml(text, 100), yaml().parse(text));
  assert.deepEqual(await parseYaml("a: 1", 100), { a: 1 });
  await assert.rejects(parseYaml(routes("  - [\n"), 100), /^Error: Flow sequence in block collection/);
  const bomb = routes(`a: &a [${"x,".repeat(50)}]\nb: &b [${"*a,".repeat(50)}]\nc: [${"*b,".repeat(50)}]\n`);
  await assert.rejects(parseYaml(bomb, 100), /alias/i);
});

test("texts that come at one time are all read, one after the other, the broken ones among them too", async () => {
  const texts = [routes("n: 0\n"), routes("  - [\n"), routes("n: 2\n")];
  const outcomes = await Promise.allSettled(texts.map((text) => parseYaml(text, 100)));
  assert.deepEqual(
    outcomes.map((outcome) => outcome.status === "fulfilled" && (outcome.value as { n: number }).n),
    [0, false, 2],
  );
});

test("whoever does not want it any more ends its thread, and the next gets its turn", async () => {
  const end = new AbortController();
  const reading = openSource("a.yaml", routes(), {}, RULES, end.signal);
  const waiting = openSource("b.yaml", routes(), {}, RULES, end.signal);
  const next = parseYaml(routes(), 100);
  end.abort(new Error("not wanted"));
  await assert.rejects(reading, /^Error: not wanted$/);
  await assert.rejects(waiting, /^Error: not wanted$/);
  assert.ok(await next);
});

test("other work goes on while a long text is read", async () => {
  let turns = 0;
  let isReading = true;
  const work = (): void => {
    turns++;
    if (isReading) setImmediate(work);
  };
  const reading = parseYaml(routes(), 100);
  setImmediate(work);
  await reading;
  isReading = false;
  // Read at once, it has no turn before the end.
  assert.ok(turns > 3, `${turns} turns`);
});
