/** What is wrong with the content of a proto, for whoever wrote it. */
export class ProtoError extends Error {
  override name = "ProtoError";
}

/** The libraries throw plain errors for content that is wrong. */
export function orProtoError<T>(run: () => T, prefix = ""): T {
  try {
    return run();
  } catch (error) {
    throw new ProtoError(prefix + (error instanceof Error ? error.message : String(error)));
  }
}
