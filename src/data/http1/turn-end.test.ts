import assert from "node:assert/strict";
import { test } from "node:test";
import { atTurnEnd } from "./turn-end.ts";

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test("all are told once, in order, behind what was readable, and may ask again", async () => {
  const told: string[] = [];
  const again = {
    onTurnEnd(): void {
      told.push("again");
      if (told.length < 4) atTurnEnd(again);
    },
  };
  atTurnEnd(again);
  atTurnEnd({ onTurnEnd: () => void told.push("second") });
  await Promise.resolve();
  assert.deepEqual(told, []);
  await turn();
  assert.deepEqual(told, ["again", "second"]);
  await turn();
  assert.deepEqual(told, ["again", "second", "again"]);
});

test("many in one turn do not wait for its end", async () => {
  let told = 0;
  const counting = { onTurnEnd: () => void told++ };
  for (let i = 0; i < 1000; i++) atTurnEnd(counting);
  assert.ok(told >= 900, `${told} of 1000`);
  await turn();
  assert.equal(told, 1000);
});
