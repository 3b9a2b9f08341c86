/**
 * `consumer-restriction`: lets only listed consumers, consumer groups, services or routes pass, keeps listed
 * ones out, or gives consumers the methods that they may use.
 *
 * Fails closed: a request of which the thing to look at is not known is answered 401.
 */

import { HTTP_METHODS } from "../../lib/http-methods.ts";
import { definePlugin, Type, type Exchange } from "../../plugin/index.ts";
import { oneOf, rejectionStatus } from "../../plugin/schema.ts";

const TYPES = ["consumer_name", "service_id", "route_id", "consumer_group_id"] as const;

type Subject = (ctx: Exchange) => string | undefined;

const SUBJECTS: Record<(typeof TYPES)[number], Subject> = {
  consumer_name: (ctx) => ctx.consumer?.username,
  consumer_group_id: (ctx) => ctx.consumer?.groupId,
  service_id: (ctx) => ctx.route?.serviceId,
  route_id: (ctx) => ctx.route?.id,
};

export default definePlugin({
  name: "consumer-restriction",
  version: "0.1.0",
  priority: 2400,
  failsClosed: true,
  config: Type.Object(
    {
      type: oneOf(TYPES, { default: "consumer_name", description: "What the lists hold" }),
      blacklist: Type.Optional(
        Type.Array(Type.String(), { minItems: 1, description: "Refused; counts before the other lists" }),
      ),
      whitelist: Type.Optional(
        Type.Array(Type.String(), { minItems: 1, description: "All others are refused" }),
      ),
      allowed_by_methods: Type.Optional(
        Type.Array(
          Type.Object({
            user: Type.Optional(Type.String({ description: "A value of the kind that `type` names" })),
            methods: Type.Optional(
              Type.Array(oneOf(HTTP_METHODS), { minItems: 1, description: "Methods that it may use" }),
            ),
          }),
          { description: "Methods per value; those that are not listed here may use all" },
        ),
      ),
      rejected_code: rejectionStatus(403),
      rejected_msg: Type.Optional(Type.String({ description: "Message of a refusal" })),
    },
    {
      anyOf: [{ required: ["blacklist"] }, { required: ["whitelist"] }, { required: ["allowed_by_methods"] }],
    },
  ),
  compile(config) {
    const subjectOf = SUBJECTS[config.type];
    const refused = new Set(config.blacklist);
    const passing = config.whitelist === undefined ? null : new Set(config.whitelist);
    const methodsOf = new Map<string, ReadonlySet<string>>();
    for (const { user, methods } of config.allowed_by_methods ?? []) {
      // The first entry of a value counts, as in APISIX.
      if (user !== undefined && !methodsOf.has(user)) methodsOf.set(user, new Set(methods));
    }
    const unknown = {
      message: `The request is rejected, please check the ${config.type} for this request`,
    };
    const refusal = { message: config.rejected_msg ?? `The ${config.type} is forbidden.` };

    return {
      access(ctx) {
        const subject = subjectOf(ctx);
        if (subject === undefined) return ctx.answer(401, unknown);
        if (refused.has(subject)) return ctx.answer(config.rejected_code, refusal);
        if (passing?.has(subject) === true) return undefined;
        const methods = methodsOf.get(subject);
        const isAllowed = methods === undefined || methods.has(ctx.request.method);
        return passing === null && isAllowed ? undefined : ctx.answer(config.rejected_code, refusal);
      },
    };
  },
});
