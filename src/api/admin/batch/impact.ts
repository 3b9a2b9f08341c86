/**
 * What a batch does to traffic, told before it is written: whose requests go elsewhere, which routes can no longer be
 * reached, and where the order of plugins changes.
 *
 * It reasons about routes as they are written and evaluates no condition, so it says which routes may take a request,
 * in which order. Routes that are hidden only by several others together, or stand behind 200 others of the same path, are
 * not found.
 */

import type { ConfigurationState } from "../../../control/state.ts";
import { canonicalJson } from "../../../lib/content-hash.ts";
import { slices } from "../../../lib/slices.ts";
import type { PluginConfigs, PublishedRoute, PublishedService } from "../../../model/published.ts";
import type { RouterConfig } from "../../../config/static-config.ts";
import type { PluginList } from "../plugin-facts.ts";
import type { DecidedWrite } from "./planning.ts";
import { type Claim, type Place, RouteTable } from "./route-table.ts";

export interface ImpactSource {
  mode: RouterConfig["http"];
  plugins: PluginList;
}

export interface Impact {
  /** Requests to this place: ids of the routes that may take them, in the order in which they are tried. */
  matches: { host: string; uri: string; before: string[]; after: string[] }[];
  /** Routes that nothing reaches any more, and those that take their requests. */
  hidden: { route: string; by: string[] }[];
  /** Names of plugins in the order in which they run; `route` null: the global rules. */
  plugin_order: { route: string | null; before: string[]; after: string[] }[];
  /** Entries beyond the limit of each list. */
  left_out: number;
}

const SHOWN = 200;
const ROUTES_OF_A_PLACE = 10;
/** Routes of one place that are compared with each other; those behind are taken for reachable. */
const COMPARED = 200;
/** Places that are looked into for narrower paths, and how many of these are looked at. */
const WIDENED = 200;
const PLACES_WITHIN = 100;

interface PluginBearer {
  plugins?: PluginConfigs;
}

/** What is published of the types that matter here. */
class World {
  readonly routes = new Map<string, PublishedRoute>();
  readonly services = new Map<string, PublishedService>();
  readonly pluginConfigs = new Map<string, PluginBearer>();
  readonly globalRules = new Map<string, PluginBearer>();
  readonly table: RouteTable;
  readonly #byType: ReadonlyMap<string, Map<string, unknown>> = new Map<string, Map<string, unknown>>([
    ["routes", this.routes],
    ["services", this.services],
    ["plugin_configs", this.pluginConfigs],
    ["global_rules", this.globalRules],
  ]);

  constructor(mode: ImpactSource["mode"]) {
    this.table = new RouteTable(mode);
  }

  get types(): Iterable<string> {
    return this.#byType.keys();
  }

  set(plural: string, id: string, value: unknown): void {
    const held = this.#byType.get(plural);
    if (value === null) held?.delete(id);
    else held?.set(id, value);
  }

  hostsOf(route: PublishedRoute): readonly string[] | undefined {
    if (route.hosts !== undefined) return route.hosts;
    return route.service_id === undefined ? undefined : this.services.get(route.service_id)?.hosts;
  }

  places(id: string): Place[] {
    const route = this.routes.get(id);
    return route === undefined ? [] : this.table.places(route, this.hostsOf(route));
  }
}

/** For 50,000 routes this is some hundred milliseconds of work, in slices. */
export async function impactOf(
  decided: readonly DecidedWrite[],
  state: ConfigurationState,
  source: ImpactSource,
): Promise<Impact> {
  const impact: Impact = { matches: [], hidden: [], plugin_order: [], left_out: 0 };
  const before = new World(source.mode);
  const after = new World(source.mode);
  const relevant = new Set(before.types);
  const changes = decided.filter(({ write }) => relevant.has(write.target.type.plural));
  if (changes.length === 0) return impact;
  const breathe = slices();
  for (const plural of relevant) {
    for (const { id, published } of state.list(plural)) {
      if (published === null) continue;
      const value: unknown = JSON.parse(published);
      before.set(plural, id, value);
      after.set(plural, id, value);
      await breathe();
    }
  }
  for (const { write, previous, value } of changes) {
    const { type, id } = write.target;
    const created = previous?.createRevision ?? Number.MAX_SAFE_INTEGER;
    after.set(type.plural, id, value === null ? null : type.normalize!(id, value, source.plugins, created));
  }
  for (const world of [before, after]) {
    for (const route of world.routes.values()) {
      world.table.add(route, world.hostsOf(route));
      await breathe();
    }
  }
  const touched = touchedRoutes(changes, before, after);
  const places = new Map<string, Place>();
  for (const id of touched) {
    for (const place of [...before.places(id), ...after.places(id)]) {
      places.set(`${place.host} ${place.path}`, place);
    }
  }
  for (const place of [...places.values()].slice(0, WIDENED)) {
    const within = [before, after].flatMap(({ table }) => table.within(place, PLACES_WITHIN));
    for (const inner of within) places.set(`${inner.host} ${inner.path}`, inner);
    await breathe();
  }
  for (const place of places.values()) {
    compareMatches(place, before, after, impact);
    await breathe();
  }
  await findHidden(places.values(), before, after, impact, breathe);
  for (const id of touched) comparePlugins(id, before, after, source.plugins, impact);
  compareGlobalPlugins(before, after, source.plugins, impact);
  return impact;
}

/** Routes that changed themselves, or whose service or plugin config did. */
function touchedRoutes(changes: readonly DecidedWrite[], before: World, after: World): Set<string> {
  const touched = new Set<string>();
  const changed = new Set(changes.map(({ write }) => `${write.target.type.plural}/${write.target.id}`));
  for (const world of [before, after]) {
    for (const { id, service_id: service, plugin_config_id: config } of world.routes.values()) {
      const isTouched =
        changed.has(`routes/${id}`) ||
        (service !== undefined && changed.has(`services/${service}`)) ||
        (config !== undefined && changed.has(`plugin_configs/${config}`));
      if (isTouched) touched.add(id);
    }
  }
  return touched;
}

function compareMatches(place: Place, before: World, after: World, impact: Impact): void {
  const [was, will] = [before, after].map((world) => world.table.meet(place, ROUTES_OF_A_PLACE));
  if (was.map(claimText).join("\n") === will.map(claimText).join("\n")) return;
  const ids = (claims: readonly Claim[]) => [...new Set(claims.map(({ route }) => route.id))];
  add(impact.matches, { host: place.host, uri: place.path, before: ids(was), after: ids(will) }, impact);
}

/** Equal for claims of one route that take the same requests. */
function claimText({ route, uri, hosts }: Claim): string {
  const { id, methods, remote_addrs: addresses, vars } = route;
  return canonicalJson([id, uri, hosts, methods ?? null, addresses ?? null, vars ?? null]);
}

async function findHidden(
  places: Iterable<Place>,
  before: World,
  after: World,
  impact: Impact,
  breathe: () => Promise<void> | void,
): Promise<void> {
  const seen = new Set<string>();
  for (const place of places) {
    for (const { route } of after.table.at(place).slice(0, COMPARED)) {
      if (seen.has(route.id)) continue;
      seen.add(route.id);
      await breathe();
      const by = hidersOf(route.id, after);
      if (by.length > 0 && hidersOf(route.id, before).length === 0) {
        add(impact.hidden, { route: route.id, by }, impact);
      }
    }
  }
}

/** Those that take every request of the route before it is tried; none when something still reaches it. */
function hidersOf(id: string, world: World): string[] {
  const hiders = new Set<string>();
  for (const place of world.places(id)) {
    const claims = world.table.at(place).slice(0, COMPARED);
    const own = claims.filter(({ route }) => route.id === id);
    if (own.length === 0) return [];
    for (const claim of own) {
      const hider = claims.slice(0, claims.indexOf(claim)).find((earlier) => takesAllOf(earlier, claim));
      if (hider === undefined) return [];
      hiders.add(hider.route.id);
    }
  }
  hiders.delete(id);
  return [...hiders];
}

function takesAllOf(earlier: Claim, claim: Claim): boolean {
  const [a, b] = [earlier.route, claim.route];
  return (
    earlier.uri === claim.uri &&
    isWithin(claim.hosts ?? undefined, earlier.hosts ?? undefined) &&
    isWithin(b.methods, a.methods) &&
    isWithin(b.remote_addrs, a.remote_addrs) &&
    (a.vars === undefined || canonicalJson(a.vars) === canonicalJson(b.vars ?? []))
  );
}

/** An absent or empty list stands for everything. */
function isWithin(inner: readonly string[] | undefined, outer: readonly string[] | undefined): boolean {
  if (outer === undefined || outer.length === 0) return true;
  return inner !== undefined && inner.length > 0 && inner.every((item) => outer.includes(item));
}

function comparePlugins(id: string, before: World, after: World, plugins: PluginList, impact: Impact): void {
  const names = (world: World) => {
    const route = world.routes.get(id);
    if (route === undefined) return null;
    return orderOf(
      [
        route.service_id === undefined ? undefined : world.services.get(route.service_id),
        route.plugin_config_id === undefined ? undefined : world.pluginConfigs.get(route.plugin_config_id),
        route,
      ],
      plugins,
    );
  };
  const [was, will] = [names(before), names(after)];
  // A route that comes or goes has no order that changes.
  if (was === null || will === null || was.join() === will.join()) return;
  add(impact.plugin_order, { route: id, before: was, after: will }, impact);
}

function compareGlobalPlugins(before: World, after: World, plugins: PluginList, impact: Impact): void {
  const was = orderOf([...before.globalRules.values()], plugins);
  const will = orderOf([...after.globalRules.values()], plugins);
  if (was.join() !== will.join()) add(impact.plugin_order, { route: null, before: was, after: will }, impact);
}

/** Weakest first, as workers merge them; what is disabled does not run. */
function orderOf(bearers: readonly (PluginBearer | undefined)[], plugins: PluginList): string[] {
  const merged = new Map<string, { priority?: number; disable?: boolean }>();
  for (const bearer of bearers) {
    for (const [name, config] of Object.entries(bearer?.plugins ?? {})) {
      merged.set(name, config["_meta"] ?? {});
    }
  }
  const priority = (name: string) => merged.get(name)!.priority ?? plugins.get(name)?.priority ?? Infinity;
  return [...merged.keys()]
    .filter((name) => merged.get(name)!.disable !== true)
    .sort((a, b) => priority(b) - priority(a) || (a < b ? -1 : 1));
}

function add<T>(list: T[], item: T, impact: Impact): void {
  if (list.length < SHOWN) list.push(item);
  else impact.left_out++;
}
