/** When probes come: on a grid, spread, never more than one per interval. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { ProbeTimes } from "./schedule.ts";

test("over time there are as many probes as intervals, however long a probe takes", () => {
  const seconds = fc.integer({ min: 1, max: 30 });
  fc.assert(
    fc.property(
      seconds,
      fc.nat(400),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (s, tookMs, randoms) => {
        const intervalMs = s * 1000;
        const times = new ProbeTimes(intervalMs, 5000, () => randoms.next().value as number);
        const firstMs = times.nextMs;
        assert.ok(firstMs >= 5000 && firstMs <= 6000);
        let nowMs = firstMs;
        let probes = 0;
        while (nowMs < 5000 + 100 * intervalMs) {
          nowMs = times.nextMs + tookMs;
          times.advance(nowMs, intervalMs);
          assert.ok(times.nextMs >= nowMs);
          probes++;
        }
        // One more before the grid, one at each of its ends, and the one that ended the count.
        assert.ok(probes >= 99 && probes <= 103, `${probes} probes in 100 intervals`);
      },
    ),
  );
});

test("targets of one upstream spread over the interval", () => {
  let n = 0;
  const random = (): number => (n++ * 0.618_034) % 1;
  const tenths = new Set<number>();
  for (let i = 0; i < 50; i++) {
    const times = new ProbeTimes(10_000, 0, random);
    times.advance(times.nextMs, 10_000);
    times.advance(times.nextMs, 10_000);
    tenths.add(Math.floor((times.nextMs % 10_000) / 1000));
  }
  assert.equal(tenths.size, 10);
});

test("what went down is probed within the interval of unhealthy nodes", () => {
  const times = new ProbeTimes(60_000, 0, () => 0.5);
  times.advance(30_000, 1000);
  assert.ok(times.nextMs > 30_000 && times.nextMs <= 31_050, String(times.nextMs));
});

test("what was missed is not made up for", () => {
  const times = new ProbeTimes(1000, 0, () => 0.5);
  times.advance(10_400, 1000);
  assert.equal(times.nextMs, 10_500);
  times.advance(10_500, 1000);
  assert.equal(times.nextMs, 11_500);
});
