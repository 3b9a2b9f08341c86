/**
 * Questions to a worker: what would become of this request? Whoever serves is asked; without an answer in time, or with
 * too many questions at once, the caller is told so. Workers answer between requests, so questions are bounded.
 */

import type { DescribedRequest, Explanation, ExplanationFailure } from "../shared/explanation.ts";
import type { ExplainMessage, WorkerToControl } from "../shared/messages.ts";

/** The part of the publisher that is used. */
export interface WorkerLine {
  ask(question: ExplainMessage): boolean;
  onExplained: ((message: Extract<WorkerToControl, { type: "explained" }>) => void) | null;
}

export type ExplanationOutcome =
  | { explanation: Explanation }
  | { failure: "mistake" | "error" | "no worker" | "too many" | "late"; message: string };

const MAX_WAITING = 16;
const TIMEOUT_MS = 5_000;

interface Waiting {
  resolve(outcome: ExplanationOutcome): void;
  timer: NodeJS.Timeout;
}

export class Explanations {
  readonly #line: WorkerLine;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #questions = 0;

  constructor(line: WorkerLine, timeoutMs: number = TIMEOUT_MS) {
    this.#line = line;
    this.#timeoutMs = timeoutMs;
    line.onExplained = ({ question, explanation }) => this.#end(question, outcomeOf(explanation));
  }

  /** Never rejects. */
  explain(request: DescribedRequest): Promise<ExplanationOutcome> {
    if (this.#waiting.size >= MAX_WAITING) {
      const message = `${MAX_WAITING} explanations are under way; try again`;
      return Promise.resolve({ failure: "too many", message });
    }
    const question = ++this.#questions;
    if (!this.#line.ask({ type: "explain", question, request })) {
      return Promise.resolve({ failure: "no worker", message: "no worker serves now" });
    }
    return new Promise((resolve) => {
      const message = `no worker answered within ${this.#timeoutMs / 1000} s`;
      const timer = setTimeout(() => this.#end(question, { failure: "late", message }), this.#timeoutMs);
      this.#waiting.set(question, { resolve, timer });
    });
  }

  #end(question: number, outcome: ExplanationOutcome): void {
    const waiting = this.#waiting.get(question);
    if (waiting === undefined) return;
    this.#waiting.delete(question);
    clearTimeout(waiting.timer);
    waiting.resolve(outcome);
  }
}

function outcomeOf(explanation: Explanation | ExplanationFailure): ExplanationOutcome {
  if (!("error" in explanation)) return { explanation };
  return { failure: explanation.isMistake ? "mistake" : "error", message: explanation.error };
}
