/**
 * What is wrong with a static configuration: every problem with its place, so that an operator mends all of
 * them at once. Nothing here decides what is wrong.
 */

export interface ConfigProblem {
  /** 1-based; null when the problem has no place in the file (an environment variable, a missing file). */
  line: number | null;
  column: number | null;
  /** Dotted path of the key, as "apisix.node_listen[0].port"; "" for the file as a whole. */
  key: string;
  /** What was given and what was expected. */
  message: string;
}

/** The configuration cannot be used. `message` has one printable line per problem. */
export class ConfigError extends Error {
  override name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(source: string, problems: readonly ConfigProblem[]) {
    super(problems.map((problem) => problemText(source, problem)).join("\n"));
    this.problems = problems;
  }
}

/** One line: place, key, message. */
export function problemText(source: string, problem: ConfigProblem): string {
  const place = problem.line === null ? source : `${source}:${problem.line}:${problem.column ?? 1}`;
  return problem.key === "" ? `${place} ${problem.message}` : `${place} ${problem.key}: ${problem.message}`;
}
