/** Where commands print to, and with which exit codes they end. */

export interface Terminal {
  stdout: { write(text: string): unknown };
  stderr: { write(text: string): unknown };
  env: NodeJS.ProcessEnv;
}

export const DONE = 0;
/** What was asked for is not so: a file is wrong, a node refuses; for `diff`, there are differences. */
export const WRONG = 1;
/** The command line is wrong; for `diff`, also everything that kept it from comparing. */
export const MISUSED = 2;

/** Ends a command with a message and an exit code. */
export class CommandError extends Error {
  override name = "CommandError";
  readonly code: number;

  constructor(message: string, code: number = WRONG) {
    super(message);
    this.code = code;
  }
}
