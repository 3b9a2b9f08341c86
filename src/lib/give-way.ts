/**
 * Lets threads that wait for the core of this one run, when this one has run for a while without a stop.
 *
 * A lower niceness is not enough for that: it is about shares, and Linux lets a thread that runs go on for its slice of
 * some milliseconds, whoever becomes ready meanwhile. So work that comes in bursts rests now and then, too shortly to
 * matter to itself, and long enough that the kernel gives the core to somebody else.
 *
 * It blocks the calling thread: for threads of control, never for one that carries traffic.
 */

/** What a request that comes in between may have to wait. */
const RUN_MS = 0.5;
/** Any length makes the kernel choose anew. */
const REST_MS = 0.05;

const nobodyWakes = new Int32Array(new SharedArrayBuffer(4));
let runsUntil = 0;

/** To be called between pieces of work; costs a look at the clock when no rest is due. */
export function giveWay(): void {
  if (performance.now() < runsUntil) return;
  Atomics.wait(nobodyWakes, 0, 0, REST_MS);
  runsUntil = performance.now() + RUN_MS;
}
