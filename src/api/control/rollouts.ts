/** `/v1/rollouts`: where rollouts are, and what this node sees of them. */

import type { FastifyInstance } from "fastify";
import type { RolloutReport } from "../../control/rollouts/report.ts";

export function addRollouts(server: FastifyInstance, report: RolloutReport): void {
  server.get("/v1/rollouts", () => {
    const list = report.list();
    return { list, total: list.length };
  });
  server.get<{ Params: { id: string } }>("/v1/rollouts/:id", (request, reply) => {
    const { id } = request.params;
    const rollout = report.get(id);
    return rollout === null
      ? reply.code(404).send({ error_msg: `rollout[${id}] not found` })
      : reply.send(rollout);
  });
}
