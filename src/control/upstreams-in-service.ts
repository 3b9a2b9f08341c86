/** Upstreams as workers have them. */

import type { PublishedUpstream } from "../model/published.ts";
import type { Discoveries } from "./discovery/discoveries.ts";
import type { ConfigurationState } from "./state.ts";

/** By their ids; null: there is none in service. */
export type UpstreamOf = (id: string) => PublishedUpstream | null;

/** `discoveries`: fills in the nodes of upstreams that name a service; absent: nobody does. */
export function upstreamsOf(state: Pick<ConfigurationState, "get">, discoveries?: Discoveries): UpstreamOf {
  return (id) => {
    const published = state.get("upstreams", id)?.published ?? null;
    if (published === null) return null;
    const item = { kind: "upstream", id, value: published } as const;
    return JSON.parse((discoveries?.filled(item) ?? item).value!) as PublishedUpstream;
  };
}

export function lists({ nodes }: PublishedUpstream, { host, port }: { host: string; port: number }): boolean {
  return nodes.some((node) => node.host === host && node.port === port);
}
