/** An explanation of the Control API as people read it. */

import type {
  ExplainedCandidate,
  ExplainedCondition,
  ExplainedPlugin,
  Explanation,
} from "../shared/explanation.ts";

const VALUE_CHARACTERS = 120;
const VERDICTS: Readonly<Record<ExplainedCandidate["verdict"], string>> = {
  taken: "takes the request",
  refused: "does not match",
  behind: "would match, and comes later",
  elsewhere: "is not compared with the request",
};

export function explanationText(explanation: Explanation): string {
  const { request, route, candidates, answer, notes } = explanation;
  const { method, host, path, client_address: client } = request;
  const lines = [
    `${method} ${host}${path} from ${client}`,
    "",
    "Routes, in the order in which they are tried:",
  ];
  if (candidates.length === 0) lines.push("  none has this host and path");
  for (const candidate of candidates) lines.push(...candidateLines(candidate));
  if (explanation.candidates_left_out > 0) lines.push(`  and ${explanation.candidates_left_out} more`);
  const parameters = Object.entries(route?.parameters ?? {}).map(([name, value]) => `${name} = ${value}`);
  if (parameters.length > 0) lines.push("", `Path parameters: ${parameters.join(", ")}`);
  lines.push(...pluginLines("Plugins of global rules:", explanation.global_plugins));
  lines.push(...pluginLines("Plugins, in the order in which they run:", explanation.plugins));
  lines.push(...upstreamLines(explanation));
  if (answer !== null) lines.push("", `The gateway answers ${answer.status}: ${answer.reason}`);
  for (const note of notes) lines.push("", `Note: ${note}.`);
  lines.push("", `Told by worker ${explanation.worker}, revision ${explanation.revision}.`);
  return `${lines.join("\n")}\n`;
}

function candidateLines({ route, name, uri, host, verdict, conditions }: ExplainedCandidate): string[] {
  const place = uri === undefined ? "" : ` at ${host ?? ""}${uri}`;
  const sign = verdict === "taken" ? "→" : " ";
  const title = name === undefined ? route : `${route} (${name})`;
  const lines = [`${sign} ${title}${place}: ${VERDICTS[verdict]}`];
  for (const condition of conditions) if (!condition.holds) lines.push(`      ${conditionText(condition)}`);
  return lines;
}

function conditionText({ condition, expected, given }: ExplainedCondition): string {
  return `${condition}: given ${short(given)}, expected ${short(expected)}`;
}

function pluginLines(title: string, plugins: readonly ExplainedPlugin[]): string[] {
  if (plugins.length === 0) return [];
  return ["", title, ...plugins.map(pluginText)];
}

function pluginText({ name, priority, from, instead_of: others, state, ...more }: ExplainedPlugin): string {
  const remarks: string[] = [];
  if (state !== "runs") remarks.push(state);
  if (others.length > 0) remarks.push(`instead of that of ${others.join(", ")}`);
  if (more.after_authentication === true) remarks.push("after authentication");
  const remark = remarks.length === 0 ? "" : ` (${remarks.join("; ")})`;
  return `  ${name} from ${from}, priority ${priority}${remark}`;
}

function upstreamLines({ upstream }: Explanation): string[] {
  if (upstream === null) return [];
  const { from, name, type, scheme, nodes, node, host_header: host, target } = upstream;
  const lines = [
    "",
    `Upstream ${from}${name === undefined ? "" : ` (${name})`}: ${type} over ${nodes} nodes`,
  ];
  if (node === null) return lines;
  const address = node.address.includes(":") ? `[${node.address}]` : node.address;
  const isNamed = node.host !== node.address;
  lines.push(`  node ${scheme}://${address}:${node.port}${isNamed ? ` (${node.host})` : ""}`);
  lines.push(`  target ${target ?? ""}, Host ${host ?? ""}`);
  return lines;
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > VALUE_CHARACTERS ? `${text.slice(0, VALUE_CHARACTERS)}…` : text;
}
