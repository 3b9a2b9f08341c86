/**
 * How one version of an upstream does TLS: its client certificate, whether it verifies its nodes, and from these the
 * connector for a node and a host.
 *
 * A client certificate by id is looked up again whenever that resource has changed: the next connection shows the new
 * one, and connections with the old one carry no new request.
 */

import type { PublishedSsl } from "../../../model/published.ts";
import type { ItemBytes } from "../../../shared/configuration-bytes.ts";
import type { UpstreamNode } from "../node.ts";
import { contextName, type ClientPair, type SecureContexts } from "./contexts.ts";
import { SecureConnector } from "./secure-connector.ts";

export class SecureProfile {
  readonly #contexts: SecureContexts;
  readonly #verifies: boolean;
  readonly #certificateId: string | null;
  #pair: ClientPair | null;
  #contextName: string;
  /** Of the certificate by id, as `#pair` has it. */
  #bytes: ItemBytes | null = null;
  /** Where it came from, if not from the resource itself. */
  #origin: string | null = null;
  /** Of each node, for the host that was asked for last. */
  #connectors = new WeakMap<UpstreamNode, SecureConnector>();

  /** `tls` of the upstream, as the model has checked it. */
  constructor(tls: Readonly<Record<string, unknown>>, contexts: SecureContexts) {
    const { client_cert: cert, client_key: key, client_cert_id: id } = tls;
    this.#contexts = contexts;
    this.#verifies = tls["verify"] === true;
    this.#certificateId = typeof id === "string" || typeof id === "number" ? String(id) : null;
    this.#pair = typeof cert === "string" && typeof key === "string" ? { cert, key } : null;
    this.#contextName = contextName(this.#pair, this.#verifies);
  }

  /** Throws, with what to do about it in the message, when its certificate or the authorities cannot be used. */
  connectorFor(node: UpstreamNode, host: string): SecureConnector {
    if (this.#certificateId !== null) this.#look(this.#certificateId);
    const known = this.#connectors.get(node);
    if (known !== undefined && known.host === host) return known;
    const name = this.#contextName;
    const context = this.#contexts.get(name, this.#pair, this.#verifies);
    const { sessions } = this.#contexts;
    const made = new SecureConnector(host, node.poolIdentity, name, context, this.#verifies, sessions);
    this.#connectors.set(node, made);
    return made;
  }

  #look(id: string): void {
    const bytes = this.#contexts.sslOf(id);
    if (bytes === null) throw new Error(`tls.client_cert_id: there is no ssl ${id}`);
    if (bytes === this.#bytes) return;
    const { type, enabled, pairs, supply } = bytes.parse<PublishedSsl>();
    if (type !== "client")
      throw new Error(`tls.client_cert_id: ssl ${id} is of type ${type}, expected client`);
    if (!enabled) throw new Error(`tls.client_cert_id: ssl ${id} is disabled`);
    this.#bytes = bytes;
    // Control does not have it any more, or not yet again: what came from there serves on.
    if (supply?.isMissing === true && supply.origin === this.#origin) return;
    this.#origin = supply?.isMissing === false ? supply.origin : null;
    this.#pair = pairs[0];
    this.#contextName = contextName(this.#pair, this.#verifies);
    this.#connectors = new WeakMap();
  }
}
