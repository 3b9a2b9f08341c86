/** The real worker, which collects its garbage when a test asks for it. */

import "./collecting-thread.ts";

await import("../../src/data/worker.ts");
