/** Writes docs/configuration.md from the schema of the static configuration. A test compares the two. */

import { writeFileSync } from "node:fs";
import { configurationReference } from "../src/config/reference.ts";
import { FileSchema } from "../src/config/schema.ts";

writeFileSync(new URL("../docs/configuration.md", import.meta.url), configurationReference(FileSchema));
