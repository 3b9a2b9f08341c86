/**
 * Answers of the Admin API: a status and a body. Errors are `{"error_msg": ...}` as clients of APISIX read
 * them; where a field is to blame, `pointer` names it (RFC 6901).
 */

import type { ValidationError } from "../../model/resource-type.ts";

export interface Answer {
  status: number;
  /** JSON text, or a value that becomes it; undefined: no body. */
  body?: unknown;
  /** `body` is JSON text already. */
  isText?: boolean;
  headers?: Record<string, string>;
}

export function refuse(status: number, message: string, more: object = {}): Answer {
  return { status, body: { error_msg: message, ...more } };
}

export function refuseField(error: ValidationError): Answer {
  return refuse(400, error.message, error.pointer === "" ? {} : { pointer: error.pointer });
}

export const KEY_NOT_FOUND: Answer = { status: 404, body: { message: "Key not found" } };

/** Thrown where an answer other than the usual one must end a request. */
export class AnswerError extends Error {
  readonly answer: Answer;

  constructor(answer: Answer) {
    super(`answer ${answer.status}`);
    this.answer = answer;
  }
}
