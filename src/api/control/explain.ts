/**
 * `POST /v1/explain`: what would become of a described request, asked of a worker that serves. Shows names of
 * resources, conditions and nodes, and never what plugins are configured with: this API has no key.
 */

import type { FastifyInstance } from "fastify";
import type { ExplanationOutcome, Explanations } from "../../control/explanations.ts";
import { describedRequest, DescriptionError } from "./described-request.ts";

const STATUS: Readonly<Record<Extract<ExplanationOutcome, { failure: string }>["failure"], number>> = {
  mistake: 400,
  error: 500,
  "no worker": 503,
  "too many": 503,
  late: 504,
};

/** Hooks of `server` hold here too; only bodies are read otherwise. */
export function addExplain(server: FastifyInstance, explanations: Pick<Explanations, "explain">): void {
  void server.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    // JSON whatever the type says, as in the Admin API.
    scope.addContentTypeParser("*", { parseAs: "string" }, (_request, body, parsed) => parsed(null, body));
    scope.post("/v1/explain", async (request, reply) => {
      const outcome = await outcomeOf(request.body, explanations);
      if ("explanation" in outcome) return outcome.explanation;
      return reply.code(STATUS[outcome.failure]).send({ error_msg: outcome.message });
    });
    done();
  });
}

async function outcomeOf(
  body: unknown,
  explanations: Pick<Explanations, "explain">,
): Promise<ExplanationOutcome> {
  try {
    return await explanations.explain(describedRequest(parsed(body)));
  } catch (error) {
    if (!(error instanceof DescriptionError)) throw error;
    return { failure: "mistake", message: error.message };
  }
}

function parsed(body: unknown): unknown {
  try {
    return JSON.parse(typeof body === "string" ? body : "");
  } catch {
    throw new DescriptionError('the body is not JSON; expected an object, as in {"uri": "/a"}');
  }
}
