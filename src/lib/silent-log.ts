/** A log that says nothing, for what runs without a node. A test that listens says so over it: `{ ...silent, warn: tell }`. */

import type { Log } from "./log.ts";

export const silent: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  isEnabled: () => false,
  with: () => silent,
  flush: () => {},
};
