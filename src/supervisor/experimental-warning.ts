/**
 * Keeps Node from printing that a module is experimental while one is loaded, and nothing else: the modules that
 * the project relies on are chosen, and an operator can do nothing about the warning.
 */

/** Runs `load` with warnings of the type ExperimentalWarning held back. */
export function withoutExperimentalWarning<T>(load: () => T): T {
  const emitWarning = process.emitWarning;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
    const [options] = rest;
    const type =
      typeof options === "object" && options !== null ? (options as { type?: string }).type : options;
    if (type !== "ExperimentalWarning") Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  try {
    return load();
  } finally {
    process.emitWarning = emitWarning;
  }
}
