/**
 * Makes the target that goes upstream: a template, or patterns for the path of which the first that matches
 * rewrites it.
 *
 * A question mark that a variable or the path holds is part of the path; only one that the configuration writes
 * begins a query, to which that of the request is appended. Whatever comes out is fit for a request line.
 */

import type { Exchange } from "../../plugin/index.ts";
import { compilePattern, compileReplacement, expandReplacement } from "../../lib/pattern.ts";
import type { Pattern, PatternMatch, Replacement } from "../../lib/pattern.ts";
import { compileTemplate } from "../../lib/template.ts";
import { encodePath, encodeUnfit, rawPathOf } from "../../lib/uri.ts";

export interface TargetConfig {
  uri?: string;
  regex_uri?: string[];
  use_real_request_uri_unsafe: boolean;
}

/** What a request is rewritten to; `target` null: it keeps its own. */
export interface Rewriting {
  target: string | null;
  /** Of the pattern that matched. */
  match: PatternMatch | null;
}

interface Rule {
  pattern: Pattern;
  replacement: Replacement;
}

/** Every request writes it anew, and it is read before the next one comes. */
const result: Rewriting = { target: null, match: null };

/** Null: nothing of the target changes. */
export function compileRewriting(config: TargetConfig): ((ctx: Exchange) => Rewriting) | null {
  const isRaw = config.use_real_request_uri_unsafe;
  if (config.uri !== undefined) {
    const template = compileTemplate(config.uri);
    return (ctx) => {
      const uri = template.render(ctx, escapeQuestionMarks);
      const { query } = ctx.request;
      return rewritten(isRaw ? encodeUnfit(withQuery(uri, query)) : compose(uri, query, true), null);
    };
  }
  const rules = compileRules(config.regex_uri ?? []);
  if (isRaw) return (ctx) => rewriteRaw(ctx, rules);
  return rules.length === 0 ? null : (ctx) => rewritePath(ctx, rules);
}

function rewritePath(ctx: Exchange, rules: readonly Rule[]): Rewriting {
  const { path, query } = ctx.request;
  const hasOwnMark = path.includes("?");
  for (let i = 0; i < rules.length; i++) {
    const match = rules[i].pattern.exec(path);
    if (match !== null)
      return rewritten(compose(substitute(path, match, rules[i].replacement), query, !hasOwnMark), match);
  }
  return rewritten(null, null);
}

/** The target as the client sent it, without normalisation; patterns see its query too. */
function rewriteRaw(ctx: Exchange, rules: readonly Rule[]): Rewriting {
  // The query is that of now: plugins may have taken credentials out of it.
  const target = withQuery(rawPathOf(ctx.request.target), ctx.request.query);
  for (let i = 0; i < rules.length; i++) {
    const match = rules[i].pattern.exec(target);
    if (match !== null) return rewritten(encodeUnfit(substitute(target, match, rules[i].replacement)), match);
  }
  return rewritten(encodeUnfit(target), null);
}

function rewritten(target: string | null, match: PatternMatch | null): Rewriting {
  result.target = target === null || target.startsWith("/") || target === "*" ? target : `/${target}`;
  result.match = match;
  return result;
}

/** `splits`: the first question mark of `uri` begins its query. */
function compose(uri: string, query: string, splits: boolean): string {
  const mark = splits ? uri.indexOf("?") : -1;
  if (mark === -1) return query === "" ? encodePath(uri) : `${encodePath(uri)}?${query}`;
  return withQuery(encodePath(uri.slice(0, mark)) + encodeUnfit(uri.slice(mark)), query);
}

function withQuery(target: string, query: string): string {
  if (query === "") return target;
  return target + (target.includes("?") ? "&" : "?") + query;
}

function substitute(text: string, match: PatternMatch, replacement: Replacement): string {
  const end = match.index + match.groups[0]!.length;
  return text.slice(0, match.index) + expandReplacement(replacement, match) + text.slice(end);
}

function compileRules(pairs: readonly string[]): Rule[] {
  const rules: Rule[] = [];
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    rules.push({ pattern: compilePattern(pairs[i]), replacement: compileReplacement(pairs[i + 1]) });
  }
  return rules;
}

function escapeQuestionMarks(value: string): string {
  return value.includes("?") ? value.replaceAll("?", "%3F") : value;
}
