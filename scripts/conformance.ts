/**
 * `npm run conformance -- CHECKOUT [options]`: runs APISIX's own black-box cases against this working tree.
 *
 * CHECKOUT is an exported tree of apache/apisix. The harness that plays the cases is looked for beside the
 * repository (`--harness DIR` names another place); all other options go to it, for instance
 * `--files 't/admin/*.t'`, `--tiers core,static`, `--json out.json`.
 *
 * The node runs with the ports of the suite, so nothing else may use them: on Linux, run it in a network
 * namespace of its own (`unshare -n sh -c 'ip link set lo up; npm run conformance -- ...'`).
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const ADMIN_KEY = "conformance-0123456789abcdef";

const [checkout, ...given] = process.argv.slice(2);
const at = given.indexOf("--harness");
const [, namedHarness] = at === -1 ? [] : given.splice(at, 2);
const harness = resolve(namedHarness ?? join(ROOT, "../shared/conformance"));

if (checkout === undefined || !existsSync(join(checkout, "t/APISIX.pm"))) {
  fail(
    "usage: npm run conformance -- CHECKOUT [--harness DIR] [options of the harness]; CHECKOUT holds t/APISIX.pm",
  );
}
if (!existsSync(join(harness, "conformance.py")))
  fail(`no harness in ${harness}: name its folder with --harness`);

const data = mkdtempSync(join(tmpdir(), "cardea-conformance-"));
const OPTIONS = {
  "--src": resolve(checkout),
  "--gateway-cmd": `${join(ROOT, "bin/cardea")} start -c $CONF_DIR/config.yaml --data ${data}`,
  "--admin-key": ADMIN_KEY,
  "--reset-url": "http://127.0.0.1:9090/v1/counters/reset",
  "--reset-method": "POST",
  "--only-known": join(harness, "visible.txt"),
};
try {
  const { status } = spawnSync(
    "python3",
    [join(harness, "conformance.py"), ...Object.entries(OPTIONS).flat(), "--redis", ...given],
    { stdio: "inherit" },
  );
  process.exitCode = status ?? 1;
} finally {
  rmSync(data, { recursive: true, force: true });
}

function fail(text: string): never {
  console.error(text);
  process.exit(2);
}
