/** The command line: what it prints and which exit code it gives. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { COMMANDS } from "./commands.ts";
import { main } from "./main.ts";

async function cardea(argv: string[], env: NodeJS.ProcessEnv = {}) {
  const out: string[] = [];
  const err: string[] = [];
  const terminal = {
    stdout: { write: (text: string) => out.push(text) },
    stderr: { write: (text: string) => err.push(text) },
    env,
  };
  const code = await main(argv, terminal);
  return { code, out: out.join(""), err: err.join("") };
}

describe("the command line", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "cardea-cli-"));
  });
  after(() => {
    rmSync(folder, { recursive: true });
  });

  test("no command shows the commands on the error stream and is a misuse", async () => {
    const { code, out, err } = await cardea([]);
    assert.equal(code, 2);
    assert.equal(out, "");
    for (const command of COMMANDS) assert.match(err, new RegExp(`^  ${command.name} `, "m"));
  });

  for (const { name } of COMMANDS.filter((command) => command.options.length > 0)) {
    test(`${name} --help and help ${name} say the same`, async () => {
      const byOption = await cardea([name, "--help"]);
      assert.equal(byOption.code, 0);
      assert.match(byOption.out, new RegExp(`^Usage: cardea ${name} `));
      assert.deepEqual(await cardea(["help", name]), byOption);
    });
  }

  test("a mistyped command is told the one that was meant", async () => {
    assert.deepEqual(await cardea(["chekc"]), {
      code: 2,
      out: "",
      err: 'unknown command "chekc"; did you mean check?\n',
    });
    assert.match((await cardea(["help", "xyzzy"])).err, /expected one of start, check/);
  });

  test("an unknown option is a misuse that names it", async () => {
    const { code, err } = await cardea(["check", "--confg", "x"]);
    assert.equal(code, 2);
    assert.match(err, /--confg/);
  });

  test("version prints the version of the package", async () => {
    const { code, out } = await cardea(["version"]);
    assert.equal(code, 0);
    assert.match(out, /^cardea \d+\.\d+\.\d+\n$/);
    assert.equal((await cardea(["--version"])).out, out);
  });

  test("check accepts a good file and shows its warnings", async () => {
    const file = join(folder, "good.yaml");
    writeFileSync(file, "apisix:\n  node_listen: 8081\n  tracing: true\n");
    const { code, out, err } = await cardea(["check", "-c", file]);
    assert.equal(code, 0);
    assert.match(out, /^configuration is valid: .*http 0\.0\.0\.0:8081/);
    assert.match(err, /^warning: .*apisix\.tracing/);
  });

  test("check prints each mistake of a bad file with its place and exits 1", async () => {
    const file = join(folder, "bad.yaml");
    writeFileSync(file, "apisix:\n  node_listen: x\n  foo: 1\n");
    const { code, err } = await cardea(["check", "--config", file]);
    assert.equal(code, 1);
    assert.match(err, /bad\.yaml:2:16 apisix\.node_listen: given "x"/);
    assert.match(err, /bad\.yaml:3:3 apisix\.foo: unknown key/);
  });

  test("check takes config.yaml of the data folder, and the defaults where there is none", async () => {
    assert.match((await cardea(["check", "-d", folder])).out, /http 0\.0\.0\.0:9080/);
    writeFileSync(join(folder, "config.yaml"), "apisix:\n  node_listen: 8082\n");
    assert.match((await cardea(["check"], { CARDEA_DATA: folder })).out, /http 0\.0\.0\.0:8082/);
  });

  test("check of a missing file says so", async () => {
    const { code, err } = await cardea(["check", "-c", join(folder, "none.yaml")]);
    assert.equal(code, 1);
    assert.match(err, /none\.yaml cannot be read: ENOENT/);
  });
});
