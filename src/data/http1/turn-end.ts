/**
 * What is written at the end of a turn of the event loop, one behind the other, instead of between two reads.
 *
 * Reading, the code of the gateway and writing take turns otherwise, and each pushes the others out of the processor's
 * caches. The turn ends when everything that was readable has been read (`setImmediate`), so a lone request waits for
 * nothing; under load, after so many writes, before the first of them grows old.
 */

export interface TurnEnding {
  /** Once for each `atTurnEnd`. Must not throw. */
  onTurnEnd(): void;
}

/** What is written together; more brings little, and keeps upstreams and clients waiting. */
const BATCH = 64;

let waiting: TurnEnding[] = [];
let spare: TurnEnding[] = [];
let isArmed = false;

export function atTurnEnd(item: TurnEnding): void {
  waiting.push(item);
  if (waiting.length >= BATCH) endTurn();
  else if (!isArmed) {
    isArmed = true;
    setImmediate(onImmediate);
  }
}

function onImmediate(): void {
  isArmed = false;
  endTurn();
}

function endTurn(): void {
  const items = waiting;
  waiting = spare;
  for (let i = 0; i < items.length; i++) items[i].onTurnEnd();
  items.length = 0;
  spare = items;
}
