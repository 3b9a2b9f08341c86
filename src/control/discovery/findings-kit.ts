/** For tests of sources: what they found, and waiting for it. */

import type { DiscoveredNode, Findings, Need } from "./node-source.ts";

export class FindingsKit implements Findings {
  readonly answers = new Map<string, readonly DiscoveredNode[]>();
  readonly failures: string[] = [];
  confirmations = 0;
  #waiting: (() => void)[] = [];

  answer(key: string, nodes: readonly DiscoveredNode[]): void {
    this.answers.set(key, nodes);
    this.#notify();
  }

  confirm(): void {
    this.confirmations++;
    this.#notify();
  }

  fail(_type: string, reason: string): void {
    this.failures.push(reason);
    this.#notify();
  }

  failPartly(type: string, reason: string): void {
    this.fail(type, reason);
  }

  /** "host:port" of each node, with weight and priority where these are not 1 and 0; undefined: no answer yet. */
  places(key: string): string | undefined {
    return this.answers
      .get(key)
      ?.map(({ host, port, weight, priority = 0 }) => {
        const more = weight === 1 && priority === 0 ? "" : ` ${weight}/${priority}`;
        return `${host}:${port}${more}`;
      })
      .join(", ");
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #notify(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

export function need(type: string, service: string, more: Partial<Need> = {}): Need {
  const none = { namespaceId: "", groupName: "", isGrpc: false };
  return { key: `${type}:${service}`, type, service, ...none, ...more };
}
