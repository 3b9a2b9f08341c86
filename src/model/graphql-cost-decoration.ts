/** What a position in a service's GraphQL schema costs, for limits on the cost of queries. Stands below its service. */

import { Type } from "../lib/schema.ts";
import { pointerStep, refused } from "./resource-type.ts";
import type { JsonObject, ModelContext, ResourceType, ValidationError } from "./resource-type.ts";
import { described, Id, strictObject } from "./schema-parts.ts";

const Factor = Type.Optional(Type.Number({ minimum: 0, default: 1 }));
const Arguments = Type.Optional(Type.Array(Type.String({ minLength: 1 })));

export const graphqlCostDecorationType: ResourceType = {
  plural: "graphql_cost_decorations",
  singular: "graphql_cost_decoration",
  title: "graphql cost decoration",
  parent: "services",
  parentField: "service_id",
  schema: strictObject({
    ...described,
    service_id: Type.Optional(Id),
    /** A type, or a field below it: "Query.products.nodes". */
    field_path: Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$" }),
    add_value: Factor,
    add_arguments: Arguments,
    mul_value: Factor,
    mul_arguments: Arguments,
  }),
  id: { field: "id", generated: true },
  methods: ["GET", "PUT", "POST", "PATCH", "DELETE"],
  references: [],
  inUse: null,
  check: checkFieldPath,
  normalize: null,
};

/** Two decorations of one service must not decorate the same position. */
function checkFieldPath(
  value: JsonObject,
  context: ModelContext,
  id: string | undefined,
): ValidationError | null {
  if (context.list === undefined) return null;
  for (const [otherId, other] of context.list("graphql_cost_decorations")) {
    if (otherId === id || other["field_path"] !== value["field_path"]) continue;
    const path = String(value["field_path"]);
    const message = `field_path ${path} is already decorated on this service by [${otherId}]`;
    return refused(message, pointerStep("field_path"));
  }
  return null;
}
