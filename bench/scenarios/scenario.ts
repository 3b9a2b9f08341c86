/** A scenario: one question, answered by a few rows. */

import type { Row } from "../results.ts";
import type { Stage } from "../stage.ts";

export interface Scenario {
  /** For `--only`, and the `scenario` of its rows. */
  name: string;
  /** The question, as the report's heading. */
  title: string;
  run(stage: Stage): Promise<Row[]>;
}
