/** The real control, which collects its garbage when a test asks for it. */

import "./collecting-thread.ts";

await import("../../src/control/main.ts");
