/** What each field of a resource means, for its page in docs/resources. Bounds and defaults come from the schema. */

const INLINE_UPSTREAM = "Where requests go, written here. [All fields](upstreams.md)";
const PLUGINS = "Configuration by plugin name. [All plugins](../plugins/README.md)";

/** Of every resource that has them. */
const COMMON: Readonly<Record<string, string>> = {
  id: "Set from the path; one in the body must agree with it",
  create_time: "Seconds since 1970; set by the gateway",
  update_time: "Seconds since 1970; set by the gateway",
  name: "For people; need not be unique",
  desc: "For people",
  labels: "Text by name, for people and for filters of lists",
  plugins: PLUGINS,
  upstream: INLINE_UPSTREAM,
  upstream_id: "An [upstream](upstreams.md) by its id, instead of `upstream`",
  script: "Lua; always refused: there is no Lua. Use plugins",
};

const BY_TYPE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  routes: {
    uri: "Path to match; see [routing](../routing.md#paths). Either this or `uris`",
    uris: "Several paths",
    priority: "Among routes whose path text is filed at the same place, the higher one is tried first",
    methods: "Methods to match; none: all",
    host: "Host to match, without port or with it. Either this or `hosts`; none: all",
    hosts: "Several hosts; replace those of the service",
    remote_addr: "Client address to match. Either this or `remote_addrs`",
    remote_addrs: "Several addresses",
    timeout: "Seconds; replaces the timeout of the upstream",
    "timeout.connect": "Until a connection stands",
    "timeout.send": "Between two successful writes",
    "timeout.read": "Between two reads",
    vars: "Conditions over variables; see [routing](../routing.md#conditions)",
    filter_func: "Lua; always refused: there is no Lua. Write the condition as `vars`",
    script_id: "Of APISIX; without effect",
    plugin_config_id: "A [set of plugins](plugin-configs.md); the route's own come on top",
    service_id: "A [service](services.md) whose hosts, plugins and upstream hold where the route has none",
    enable_websocket: "Whether upgrades (WebSocket) are let through",
    status: "0: as if the route were not there",
  },
  services: {
    hosts: "Hosts of those routes of this service that name none",
    enable_websocket: "Whether upgrades (WebSocket) are let through",
  },
  upstreams: {
    nodes:
      "Weight by `host:port`, or a list of nodes; see [upstreams](../upstreams.md#nodes). Either this or `service_name`",
    "nodes[].host": "Name or address; IPv6 in brackets",
    "nodes[].port": "Default: that of the scheme",
    "nodes[].weight": "Share of the traffic; 0: none, unless all nodes have 0",
    "nodes[].priority": "Nodes of a lower priority serve when none of a higher one is usable",
    "nodes[].metadata": "Kept, without effect",
    retries: "Further attempts after a failed one. Default: one less than there are nodes",
    retry_timeout: "Seconds after which no further attempt begins; 0: no such limit",
    timeout: "Seconds",
    "timeout.connect": "Until a connection stands",
    "timeout.send": "Between two successful writes",
    "timeout.read": "Between two reads",
    tls: "For `https` and `grpcs`: checked and kept, without effect yet",
    "tls.client_cert_id": "A certificate of type client among the [ssls](ssls.md)",
    "tls.client_cert": "PEM; with `client_key`",
    "tls.client_key": "PEM; with `client_cert`",
    "tls.verify": "Whether the node's certificate is verified",
    keepalive_pool: "Idle connections to each node",
    "keepalive_pool.size": "Most idle connections that a worker keeps per node",
    "keepalive_pool.idle_timeout": "Seconds after which an idle connection is closed",
    "keepalive_pool.requests": "Requests on one connection",
    type: "`roundrobin`, `chash`, `least_conn` or `ewma`; see [upstreams](../upstreams.md#balancers)",
    checks: "Health checks: checked and kept, without effect yet",
    "checks.active": "Probes that the gateway sends",
    "checks.active.type": "Protocol of a probe",
    "checks.active.timeout": "Seconds to wait for its answer",
    "checks.active.concurrency": "Probes at a time",
    "checks.active.host": "Host of a probe",
    "checks.active.port": "Port of a probe. Default: that of the node",
    "checks.active.http_method": "Method of a probe",
    "checks.active.http_path": "Target of a probe",
    "checks.active.http_req_body": "Body of a probe",
    "checks.active.https_verify_certificate": "Whether the node's certificate is verified",
    "checks.active.healthy": "When a node counts as healthy again",
    "checks.active.healthy.interval": "Seconds between probes of a healthy node",
    "checks.active.healthy.http_statuses": "Statuses of a success",
    "checks.active.healthy.successes": "Successes in a row",
    "checks.active.unhealthy": "When a node counts as unhealthy",
    "checks.active.unhealthy.interval": "Seconds between probes of an unhealthy node",
    "checks.active.unhealthy.http_statuses": "Statuses of a failure",
    "checks.active.unhealthy.http_failures": "Failures by status in a row",
    "checks.active.unhealthy.tcp_failures": "Failures to connect in a row",
    "checks.active.unhealthy.timeouts": "Timeouts in a row",
    "checks.active.req_headers": "Further header lines of a probe",
    "checks.passive": "What the traffic tells",
    "checks.passive.type": "Protocol",
    "checks.passive.healthy": "When a node counts as healthy again",
    "checks.passive.healthy.http_statuses": "Statuses of a success",
    "checks.passive.healthy.successes": "Successes in a row; 0: never",
    "checks.passive.unhealthy": "When a node counts as unhealthy",
    "checks.passive.unhealthy.http_statuses": "Statuses of a failure",
    "checks.passive.unhealthy.tcp_failures": "Failures to connect in a row; 0: never",
    "checks.passive.unhealthy.timeouts": "Timeouts in a row; 0: never",
    "checks.passive.unhealthy.http_failures": "Failures by status in a row; 0: never",
    hash_on: "What `chash` hashes",
    key: "Name of the variable, header or cookie that `chash` hashes, or a combination such as `$uri$remote_addr`",
    scheme: "Protocol towards the nodes. Served now: `http`; the others are answered 502",
    discovery_type: "Of service discovery: kept, without effect yet",
    discovery_args: "Of service discovery: kept, without effect yet",
    "discovery_args.namespace_id": "Of Nacos",
    "discovery_args.group_name": "Of Nacos",
    pass_host: "`Host` that the upstream gets: the client's, the node's, or `upstream_host`",
    upstream_host: "`Host` for `pass_host: rewrite`",
    service_name: "Of service discovery, with `discovery_type`: kept, without effect yet",
  },
  consumers: {
    username: "Its name and id",
    group_id: "A [consumer group](consumer-groups.md)",
    plugins: "Credentials by authentication plugin, and plugins for this consumer's requests",
  },
  credentials: { plugins: "Credentials for one authentication plugin" },
  global_rules: {
    plugins: `Run for every request, before those of its route. A plugin may stand in one global rule only. ${PLUGINS}`,
  },
  protos: { content: "Text of a `.proto` file" },
  ssls: {
    type: "`server`: shown to clients. `client`: shown to upstreams",
    cert: "Certificate chain, PEM",
    key: "Its private key, PEM; stored encrypted",
    sni: "Server name; `*.a.com` stands for one label in its place, `*` for every name. Either this or `snis`, unless `listen` is given",
    snis: "Several server names",
    listen: "Listeners for whose clients without a server name it stands",
    "listen[].ip": "Address that the client reached; default: all",
    "listen[].port": "Port that the client reached",
    certs: "Further certificates, of another kind of key",
    keys: "Their private keys, in the same order; stored encrypted",
    client: "Client certificates are asked for",
    "client.ca": "PEM of the authority that signs them",
    "client.depth": "Most intermediate certificates between that of the client and the authority",
    "client.skip_mtls_uri_regex": "Patterns of paths that need none",
    status: "0: as if it were not there",
    ssl_protocols: "Versions of TLS, instead of those of the static file",
  },
  stream_routes: {
    remote_addr: "Client address to match",
    server_addr: "Address of the listener to match",
    server_port: "Port of the listener to match",
    sni: "Server name to match",
    service_id: "A [service](services.md)",
    protocol: "Of an application protocol on the stream",
    "protocol.name": "Its name",
    "protocol.superior_id": "Stream route that this one refines",
    "protocol.conf": "Its configuration",
    "protocol.logger": "Loggers of the protocol",
    "protocol.logger[].name": "Plugin",
    "protocol.logger[].filter": "When it logs",
    "protocol.logger[].conf": "Its configuration",
  },
  secrets: {
    uri: "Address of the Vault server",
    prefix: "Path before each key",
    token: "Token of Vault",
    namespace: "Namespace of Vault",
    access_key_id: "Of AWS",
    secret_access_key: "Of AWS",
    session_token: "Of AWS",
    region: "Of AWS",
    endpoint_url: "Address instead of that of the region",
    auth_config: "Service account. Either this or `auth_file`",
    "auth_config.client_email": "Of the service account",
    "auth_config.private_key": "Of the service account",
    "auth_config.project_id": "Project of the secrets",
    "auth_config.token_uri": "Where tokens are got",
    "auth_config.scope": "Scopes of a token",
    "auth_config.entries_uri": "Address of the secret manager",
    ssl_verify: "Whether certificates are verified",
    auth_file: "File with the service account",
  },
  graphql_cost_decorations: {
    service_id: "Set from the path",
    field_path: "A type, or a field below it: `Query.products.nodes`",
    add_value: "Cost that is added",
    add_arguments: "Arguments whose values are added",
    mul_value: "Factor of what is below",
    mul_arguments: "Arguments that are factors",
  },
};

const used = new Set<string>();

/** Throws when there is none: a new field of a schema has to be explained. */
export function meaningOf(plural: string, field: string): string {
  const own = BY_TYPE[plural]?.[field];
  if (own !== undefined) used.add(`${plural} ${field}`);
  const meaning = own ?? COMMON[field];
  if (meaning === undefined)
    throw new Error(`scripts/resource-meanings.ts: ${plural} ${field} has no meaning`);
  return meaning;
}

/** "routes uri" for each own meaning that nobody asked for yet. */
export function unusedMeanings(): string[] {
  return Object.entries(BY_TYPE).flatMap(([plural, fields]) =>
    Object.keys(fields)
      .map((field) => `${plural} ${field}`)
      .filter((key) => !used.has(key)),
  );
}
