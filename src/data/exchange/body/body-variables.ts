/**
 * Variables out of the request's body: `post_arg_<name>` (forms), `post_arg.<path>` (forms, JSON, multipart) and
 * `graphql_operation`, `graphql_name`, `graphql_root_fields`.
 *
 * They exist where the node's configuration names them: then bodies are read before the route is chosen, up to
 * a limit; a longer or broken body has no such variables. What a variable needs is parsed when it is first read. A GraphQL
 * document has a limit of its own: parsing one costs more than its length shows.
 */

import type { ExchangeRequest } from "../../../plugin/exchange.ts";
import { readQueryArgument } from "../../../lib/query.ts";
import { readForm, readMultipart } from "./forms.ts";
import { readGraphql, type GraphqlFacts } from "./graphql.ts";
import { readPath } from "./json-path.ts";

/** Does a text of configuration (JSON) name such a variable anywhere? */
export function namesBodyVariable(text: string): boolean {
  return text.includes("post_arg") || text.includes("graphql_");
}

/** Is it worth to read this request's body for them? */
export function mayHaveBodyVariables(request: ExchangeRequest): boolean {
  const type = request.headers.get("content-type");
  return type === undefined || READABLE.test(type);
}

const READABLE =
  /^(?:application\/(?:x-www-form-urlencoded|json|graphql)|multipart\/form-data|text\/)|\+json/i;

type Fields = Record<string, unknown>;

const NOTHING: Fields = {};
const DEFAULT_GRAPHQL_BYTES = 1024 * 1024;

export class BodyVariables {
  readonly #request: ExchangeRequest;
  readonly #body: Buffer | null;
  readonly #maxGraphqlBytes: number;
  #fields: Fields | null = null;
  #graphql: GraphqlFacts | null | undefined = undefined;

  /** `body` null: there is none, or it was too long. */
  constructor(request: ExchangeRequest, body: Buffer | null, maxGraphqlBytes = DEFAULT_GRAPHQL_BYTES) {
    this.#request = request;
    this.#body = body;
    this.#maxGraphqlBytes = maxGraphqlBytes;
  }

  /** Text, or whatever the JSON of the body holds; undefined for any other name. */
  read(name: string): unknown {
    if (name.startsWith("post_arg_")) return this.#isForm() ? this.#parsed()[name.slice(9)] : undefined;
    if (name.startsWith("post_arg.")) return readPath(this.#parsed(), name.slice(9));
    switch (name) {
      case "graphql_operation":
        return this.#graphqlFacts()?.operation;
      case "graphql_name":
        return this.#graphqlFacts()?.name;
      case "graphql_root_fields":
        return this.#graphqlFacts()?.rootFields;
      default:
        return undefined;
    }
  }

  #isForm(): boolean {
    return this.#contentType().startsWith("application/x-www-form-urlencoded");
  }

  #contentType(): string {
    return this.#request.headers.get("content-type")?.toLowerCase() ?? "";
  }

  #parsed(): Fields {
    return (this.#fields ??= this.#parse());
  }

  #parse(): Fields {
    if (this.#body === null) return NOTHING;
    const type = this.#contentType();
    if (type.startsWith("application/x-www-form-urlencoded")) return readForm(this.#body.toString());
    if (type.startsWith("multipart/form-data")) {
      return readMultipart(this.#body, this.#request.headers.get("content-type")!);
    }
    return (readJson(this.#body) as Fields | undefined) ?? NOTHING;
  }

  #graphqlFacts(): GraphqlFacts | null {
    if (this.#graphql === undefined) {
      const document = this.#graphqlDocument();
      this.#graphql = document === undefined ? null : readGraphql(document);
    }
    return this.#graphql;
  }

  #graphqlDocument(): string | undefined {
    if (this.#request.method === "GET") return readQueryArgument(this.#request.query, "query");
    if (this.#request.method !== "POST" || this.#body === null) return undefined;
    if (this.#body.length > this.#maxGraphqlBytes) return undefined;
    if (!this.#contentType().startsWith("application/json")) return this.#body.toString();
    const { query } = (readJson(this.#body) as { query?: unknown } | null | undefined) ?? {};
    return typeof query === "string" ? query : undefined;
  }
}

function readJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined; // no JSON: no fields
  }
}
