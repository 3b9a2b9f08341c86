/**
 * Stand-ins for plugins that cannot be had: what is in quarantine, and what a reference that leads nowhere would have
 * brought. No plugin has these names. A chain that holds one refuses every request before anything else runs, with the
 * status that APISIX answers; unlike APISIX, a route that is closed so does not leave its requests to a wider one.
 */

export const QUARANTINED = "(in quarantine)";
export const MISSING_SERVICE = "(missing service)";
export const MISSING_PLUGINS = "(missing plugins)";

/** Of a chain that cannot be run: 404 for what APISIX takes as not there, else 503. */
export function refusalStatus(plugin: string): 404 | 503 {
  return plugin === QUARANTINED || plugin === MISSING_SERVICE ? 404 : 503;
}
