/**
 * Who writes where: every thread has a slot, every slot a lane in each table of shared memory.
 *
 * Workers are numbered from 0; control and the supervisor have fixed slots below. A lane index is never
 * negative, so it can address rows. The owner tag is what a thread leaves in a lock word while it holds
 * the lock: it names slot and generation, so that a dead holder is told from its living replacement.
 */

export const CONTROL_SLOT = -1;
export const SUPERVISOR_SLOT = -2;

/** Slots that are not workers: their lanes come first. */
const FIXED_LANES = 2;

/** So that lane and generation share one positive 32-bit word. */
const MAX_WORKERS = 1000;
const GENERATION_BITS = 21;
const GENERATION_MASK = (1 << GENERATION_BITS) - 1;

/** Rows that a table for this many workers has. */
export function laneCount(workers: number): number {
  if (!Number.isInteger(workers) || workers < 0 || workers > MAX_WORKERS) {
    throw new RangeError(`workers: given ${workers}, expected an integer from 0 to ${MAX_WORKERS}`);
  }
  return workers + FIXED_LANES;
}

export function laneOf(slot: number): number {
  return slot + FIXED_LANES;
}

export function slotOf(lane: number): number {
  return lane - FIXED_LANES;
}

/** Never 0, which is the free lock. Generations repeat after two million restarts of one slot. */
export function ownerTag(slot: number, generation: number): number {
  return ((laneOf(slot) + 1) << GENERATION_BITS) | (generation & GENERATION_MASK);
}
