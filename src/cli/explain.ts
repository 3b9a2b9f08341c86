/** `cardea explain`: describes a request to a node and prints what would become of it. */

import type { Explanation } from "../shared/explanation.ts";
import { refusalText, type Connection } from "./connection.ts";
import { explanationText } from "./explanation-text.ts";
import { CommandError, DONE, MISUSED, type Terminal } from "./terminal.ts";

export interface ExplainOptions {
  /** URL or path. */
  uri: string;
  method?: string;
  /** "Name: value" each. */
  headers: readonly string[];
  client?: string;
  body?: string;
  consumer?: string;
  route?: string;
  json: boolean;
}

export async function explain(
  options: ExplainOptions,
  connection: Connection,
  terminal: Terminal,
): Promise<number> {
  const { uri, method, client, body, consumer, route } = options;
  const headers = headersOf(options.headers);
  const description = {
    uri,
    // As curl has it.
    method: method ?? (body === undefined ? undefined : "POST"),
    headers:
      body === undefined ? headers : { "content-type": "application/x-www-form-urlencoded", ...headers },
    client_address: client,
    body,
    consumer,
    route,
  };
  const reply = await connection.control({ method: "POST", path: "/v1/explain", body: description });
  if (reply.status !== 200) throw new CommandError(`the node refuses: ${refusalText(reply)}`);
  const explanation = reply.body as Explanation;
  terminal.stdout.write(options.json ? `${JSON.stringify(explanation)}\n` : explanationText(explanation));
  return DONE;
}

function headersOf(lines: readonly string[]): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const line of lines) {
    const at = line.indexOf(":");
    if (at < 1)
      throw new CommandError(`--header: given ${JSON.stringify(line)}, expected "Name: value"`, MISUSED);
    (headers[line.slice(0, at).toLowerCase()] ??= []).push(line.slice(at + 1).trim());
  }
  return headers;
}
