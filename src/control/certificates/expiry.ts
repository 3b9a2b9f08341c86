/**
 * When certificates expire, for the metrics page: seconds from now, of the pair of each resource that ends first. What
 * stands elsewhere counts as it was got last; without that it is left out.
 *
 * Certificates are parsed once per version of the resource.
 */

import { X509Certificate } from "node:crypto";
import type { FactFamily, FactSample } from "../fact-families.ts";
import type { PublishedSsl } from "../../model/published.ts";
import type { ConfigurationState } from "../state.ts";

/** Resources that the page tells about; there may be very many. */
const MAX_SAMPLES = 1000;

interface Known {
  published: string;
  expiresAtMs: number | null;
  name: string;
}

export class CertificateExpiry {
  #known = new Map<string, Known>();

  /** Empty when there is no certificate. `suppliedOf`: what workers have of a resource that needs more than its text. */
  families(
    state: Pick<ConfigurationState, "list">,
    nowMs: number,
    suppliedOf: (id: string) => string | undefined = () => undefined,
  ): FactFamily[] {
    const known = new Map<string, Known>();
    const samples: FactSample[] = [];
    for (const { id, published: own } of state.list("ssls")) {
      if (own === null || samples.length === MAX_SAMPLES) continue;
      const published = suppliedOf(id) ?? own;
      const before = this.#known.get(id);
      const facts = before?.published === published ? before : read(published);
      known.set(id, facts);
      if (facts.expiresAtMs === null) continue;
      const value = Math.round((facts.expiresAtMs - nowMs) / 1000);
      samples.push({ labels: { ssl: id, sni: facts.name }, value });
    }
    this.#known = known;
    if (samples.length === 0) return [];
    const help = "Seconds until the certificate of an ssl resource expires; negative once it has";
    return [{ name: "ssl_expires_in_seconds", type: "gauge", help, samples }];
  }
}

function read(published: string): Known {
  const { pairs, names } = JSON.parse(published) as PublishedSsl;
  let expiresAtMs: number | null = null;
  for (const { cert } of pairs) {
    if (cert.startsWith("$")) continue;
    const endsAtMs = Date.parse(new X509Certificate(cert).validTo);
    if (expiresAtMs === null || endsAtMs < expiresAtMs) expiresAtMs = endsAtMs;
  }
  return { published, expiresAtMs, name: names[0] ?? "" };
}
