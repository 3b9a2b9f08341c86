/** Fields that the limiting plugins have in common. */

import { Type } from "../../plugin/index.ts";
import { rejectionStatus } from "../../plugin/schema.ts";

export const refusalFields = {
  rejected_code: rejectionStatus(503),
  rejected_msg: Type.Optional(
    Type.String({ minLength: 1, description: 'Text of a refusal, as {"error_msg": "..."}' }),
  ),
  allow_degradation: Type.Boolean({
    default: false,
    description: "Let requests pass when they cannot be counted, instead of answering 500",
  }),
};

/** Body of a refusal; undefined: the gateway's own page for the status. */
export function refusalBody(message: string | undefined): { error_msg: string } | undefined {
  return message === undefined ? undefined : { error_msg: message };
}
