/** `cardea.workers` and `cardea.groups`: how many workers there are, and which of them have listeners of their own. */

import { availableParallelism } from "node:os";
import { Type } from "../lib/schema.ts";
import { choice } from "./kinds.ts";
import { DEFAULT_GROUP, GroupListen } from "./listeners.ts";
import type { ResolveInput } from "./resolve.ts";
import { hasTraffic } from "./roles.ts";
import type { WorkerGroup } from "./static-config.ts";

export const Workers = Type.Union([choice(["auto"]), Type.Integer({ minimum: 1, maximum: 256 })], {
  expects: "auto or a number of workers (1..256)",
  description: "Workers of the default group. Default: `nginx_config.worker_processes`, else one per core.",
});

export const Group = Type.Object(
  {
    name: Type.String({
      pattern: "^(?!default$)[a-z0-9][a-z0-9-]{0,62}$",
      expects: "a name (a-z, 0-9, -) other than default",
    }),
    workers: Type.Integer({ minimum: 1, maximum: 256, description: "Its own workers." }),
    listen: Type.Array(GroupListen, {
      minItems: 1,
      maxItems: 256,
      description: "Its own ports for HTTP traffic.",
    }),
  },
  { additionalProperties: false, expects: "{ name, workers, listen }" },
);

export function workerGroups({ filled, addProblem }: ResolveInput): WorkerGroup[] {
  // It carries no traffic, but compiles what is written as the data planes do, and says what cannot be used.
  if (!hasTraffic(filled)) return [{ name: DEFAULT_GROUP, workers: 1 }];
  const wish = filled.cardea.workers ?? filled.nginx_config?.worker_processes ?? "auto";
  const cores = availableParallelism();
  const count = filled.apisix.enable_dev_mode ? 1 : wish === "auto" ? cores : wish;
  const groups: WorkerGroup[] = [{ name: DEFAULT_GROUP, workers: count }];
  filled.cardea.groups.forEach((group, i) => {
    if (groups.some((other) => other.name === group.name)) {
      addProblem(
        ["cardea", "groups", i, "name"],
        `given ${JSON.stringify(group.name)} twice, expected one group of a name`,
      );
    }
    groups.push({ name: group.name, workers: group.workers });
  });
  return groups;
}
