import assert from "node:assert/strict";
import { test } from "node:test";
import { compileTemplate } from "./template.ts";

const values: Record<string, unknown> = {
  a: "1",
  b_2: "two",
  n: 7,
  list: ["x"],
  empty: "",
  "post_arg.user.id": "jack",
};
const reader = { variable: (name: string) => values[name] };

test("replaces variables, with and without braces, and leaves the rest as it is written", () => {
  const table: [text: string, rendered: string, variables: string[]][] = [
    ["", "", []],
    ["plain", "plain", []],
    ["$a", "1", ["a"]],
    ["${a}", "1", ["a"]],
    ["x${a}y", "x1y", ["a"]],
    ["$a$b_2", "1two", ["a", "b_2"]],
    ["$a-$a", "1-1", ["a"]],
    ["/$a/${b_2}/z?q=$n", "/1/two/z?q=7", ["a", "b_2", "n"]],
    ["$missing!", "!", ["missing"]],
    ["$list", "", ["list"]],
    ["\\$a", "\\$a", []],
    ["$", "$", []],
    ["5$ and $-", "5$ and $-", []],
    ["${a", "${a", []],
    ["${}", "${}", []],
    ["$$a", "$1", ["a"]],
    ["${ a }", "1", ["a"]],
    ["${missing ?? none}", "none", ["missing"]],
    ["${a??none}", "1", ["a"]],
    ["${empty ?? none}", "", ["empty"]],
    ["$post_arg.user.id;", "jack;", ["post_arg.user.id"]],
  ];
  for (const [text, rendered, variables] of table) {
    const template = compileTemplate(text);
    assert.equal(template.render(reader), rendered, text);
    assert.deepEqual(template.variables, variables, text);
  }
});

test("does not interpret what a variable holds", () => {
  assert.equal(compileTemplate("<$x>").render({ variable: () => "$a $& ${a}" }), "<$a $& ${a}>");
});

test("escapes values and not the text around them", () => {
  assert.equal(compileTemplate("a b$x").render({ variable: () => "c d" }, encodeURIComponent), "a bc%20d");
});

test("is resolved when any variable has a value or a default", () => {
  assert.ok(!compileTemplate("text").isResolved(reader));
  assert.ok(!compileTemplate("$missing").isResolved(reader));
  assert.ok(compileTemplate("$missing$a").isResolved(reader));
  assert.ok(compileTemplate("${missing ?? x}").isResolved(reader));
});
