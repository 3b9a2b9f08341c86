/** The changes of `response-rewrite` to the head of an answer: first what is added, then set, then removed. */

import type { Exchange } from "../../plugin/index.ts";
import { compileFieldValue, type HeaderMap } from "../../plugin/header-map.ts";
import type { Template } from "../../lib/template.ts";
import { isChanges, readAddition, type Config } from "./config.ts";

interface Field {
  name: string;
  lowerName: string;
  value: Template;
}

export class CompiledChanges {
  readonly #add: Field[] = [];
  readonly #set: Field[];
  readonly #remove: readonly string[];

  constructor(headers: NonNullable<Config["headers"]>) {
    const changes = isChanges(headers) ? headers : { set: headers as HeaderMap };
    for (const entry of changes.add ?? []) {
      const addition = readAddition(entry);
      if (addition !== null) this.#add.push(field(addition.name, addition.value));
    }
    this.#set = Object.entries(changes.set ?? {}).map(([name, value]) => field(name, value));
    this.#remove = (changes.remove ?? []).map((name) => name.toLowerCase());
  }

  apply(ctx: Exchange): void {
    const { headers } = ctx.response;
    for (let i = 0; i < this.#add.length; i++) headers.add(this.#add[i].name, this.#add[i].value.render(ctx));
    for (let i = 0; i < this.#set.length; i++) {
      const { name, lowerName, value } = this.#set[i];
      const text = value.render(ctx);
      if (text === "") headers.delete(lowerName);
      else headers.set(name, text);
    }
    for (let i = 0; i < this.#remove.length; i++) headers.delete(this.#remove[i]);
  }
}

function field(name: string, value: string | number): Field {
  return { name, lowerName: name.toLowerCase(), value: compileFieldValue(value) };
}
