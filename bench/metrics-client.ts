/** Reads the metrics page as a scraper does, at as little cost as can be: it shares a core with the load. */

import { once } from "node:events";
import { get } from "node:http";
import type { IncomingMessage } from "node:http";

/** Bytes of the page, which are thrown away as they come. */
export async function scrapeOnce(port: number): Promise<number> {
  const request = get({ host: "127.0.0.1", port, path: "/apisix/prometheus/metrics", agent: false });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  if (response.statusCode !== 200) throw new Error(`the metrics page answers ${response.statusCode}`);
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  return bytes;
}
