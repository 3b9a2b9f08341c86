/**
 * What a GraphQL document asks for: operation, name and root fields of its first operation.
 *
 * The parser is loaded when the configuration first names a GraphQL variable: most nodes never need it.
 */

import { createRequire } from "node:module";
import type * as Graphql from "graphql";

export interface GraphqlFacts {
  operation: "query" | "mutation" | "subscription";
  /** "" for an anonymous operation. */
  name: string;
  rootFields: string[];
}

/** Longer documents are not parsed. */
const MAX_DOCUMENT_CHARACTERS = 1024 * 1024;
/** A bound for the parser's work on nested or repetitive documents. */
const MAX_TOKENS = 20_000;

let library: typeof Graphql | null = null;

/** Null when the document is no GraphQL, or has no operation. */
export function readGraphql(document: string): GraphqlFacts | null {
  if (document.length > MAX_DOCUMENT_CHARACTERS) return null;
  library ??= createRequire(import.meta.url)("graphql") as typeof Graphql;
  const { Kind, parse } = library;
  try {
    const { definitions } = parse(document, { noLocation: true, maxTokens: MAX_TOKENS });
    const first = definitions.find((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    if (first === undefined) return null;
    const rootFields: string[] = [];
    for (const selection of first.selectionSet.selections) {
      if (selection.kind !== Kind.INLINE_FRAGMENT) rootFields.push(selection.name.value);
    }
    return { operation: first.operation, name: first.name?.value ?? "", rootFields };
  } catch {
    return null; // not GraphQL
  }
}
