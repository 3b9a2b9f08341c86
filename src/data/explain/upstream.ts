/**
 * The upstream and node that a request would get now. The balancer is asked as for a request, and put back where it
 * stood: the answer is what the next request to this worker would get, and does not change it.
 */

import type { PublishedRoute } from "../../model/published.ts";
import type { ExplainedUpstream } from "../../shared/explanation.ts";
import type { HttpExchange } from "../exchange/exchange.ts";
import { TriedNodes, UpstreamNode } from "../upstream/node.ts";
import type { Upstream } from "../upstream/upstream.ts";

export function explainUpstream(
  upstream: Upstream,
  route: PublishedRoute,
  x: HttpExchange,
): ExplainedUpstream {
  const { config, nodes } = upstream;
  const own = route.upstream === undefined ? `service#${route.service_id}` : `route#${route.id}`;
  const explained: ExplainedUpstream = {
    from: upstream.id === undefined ? own : `upstream#${upstream.id}`,
    type: config.type,
    scheme: config.scheme,
    nodes: nodes.length,
    node: null,
  };
  if (config.name !== undefined) explained.name = config.name;
  const node = nodes.length === 0 ? null : pickWithoutTrace(upstream, x);
  if (node === null) return explained;
  const { host, address, port, weight, priority } = node;
  explained.node = { host, address, port, weight, priority };
  explained.host_header = upstream.hostFor(node, x.rawHost);
  explained.target = x.request.upstreamTarget();
  return explained;
}

function pickWithoutTrace(upstream: Upstream, x: HttpExchange): UpstreamNode | null {
  const weights = upstream.nodes.map((node) => node.currentWeight);
  // A request that has tried a node already: it earns no retries.
  const tried = new TriedNodes();
  tried.add(new UpstreamNode("", "", 0, 0, 0));
  const node = upstream.pick(x, tried);
  for (const [i, weight] of weights.entries()) upstream.nodes[i].currentWeight = weight;
  return node;
}
