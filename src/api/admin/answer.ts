/**
 * Answers of the Admin API: a status and a body. Errors are `{"error_msg": ...}` and nothing else, since
 * clients of APISIX compare whole bodies; where a field is to blame, the header `X-Error-Pointer` names it.
 */

import type { ValidationError } from "../../model/resource-type.ts";

/** Keys of a hostile body may be as long as the body. */
const POINTER_CHARACTERS = 1024;

export interface Answer {
  status: number;
  /** A value that becomes JSON and a line feed; undefined: no body. */
  body?: unknown;
  /** `body` is text, sent as it is. */
  isText?: boolean;
  headers?: Record<string, string>;
  /** In the place of `body`: text that is made while it is sent. */
  pieces?: Iterable<string>;
}

export function refuse(status: number, message: string, more: object = {}): Answer {
  return { status, body: { error_msg: message, ...more } };
}

/** In `X-Error-Pointer`: the JSON pointer as in a URI fragment (RFC 6901 section 6), so that it is ASCII. */
export function refuseField(error: ValidationError, status = 400): Answer {
  const answer = refuse(status, error.message);
  if (error.pointer !== "") {
    answer.headers = {
      "x-error-pointer": encodeURI(error.pointer.slice(0, POINTER_CHARACTERS).toWellFormed()),
    };
  }
  return answer;
}

/** What lies outside the scope of the admin key. */
export function refuseScope(reason: string): Answer {
  return refuse(403, "the admin key may not do this", { description: reason });
}

/** What a client hears when it asks for text in place of JSON. */
export function plainText(status: number, text: string): Answer {
  return { status, body: text, isText: true };
}

export const ROUTE_NOT_FOUND: Answer = refuse(404, "404 Route Not Found");
export const KEY_NOT_FOUND: Answer = { status: 404, body: { message: "Key not found" } };

/** Thrown where an answer other than the usual one must end a request. */
export class AnswerError extends Error {
  readonly answer: Answer;

  constructor(answer: Answer) {
    super(`answer ${answer.status}`);
    this.answer = answer;
  }
}
