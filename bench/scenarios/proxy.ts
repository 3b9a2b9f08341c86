/** The proxy path itself: without anything, with the access log on, and with bodies. */

import type { RequestShape } from "../load/request-list.ts";
import { catchAllRoute } from "../routes.ts";
import type { Stage } from "../stage.ts";
import type { Scenario } from "./scenario.ts";

export const bare: Scenario = {
  name: "bare",
  title: "Bare proxy, 1 KiB answers, access log off",
  async run(stage) {
    const requests = [{ target: "/" }];
    return stage.closedLoop("bare", [
      { name: "nginx", peer: await stage.nginx(), requests },
      { name: "node:http", peer: await stage.nodeHttp(), requests },
      { name: "cardea", peer: await bareCardea(stage), requests },
    ]);
  },
};

export const logged: Scenario = {
  name: "logged",
  title: "Bare proxy, 1 KiB answers, access log on",
  async run(stage) {
    const requests = [{ target: "/" }];
    return stage.closedLoop("logged", [
      { name: "nginx", peer: await stage.nginx({ accessLog: true }), requests },
      { name: "cardea", peer: await bareCardea(stage, true), requests },
    ]);
  },
};

export const bodies: readonly Scenario[] = [
  bodyScenario("get-100k", "100 KiB answers", { target: "/100k" }),
  bodyScenario("post-1k", "1 KiB request bodies, 1 KiB answers", {
    method: "POST",
    target: "/post",
    body: "x".repeat(1024),
  }),
  bodyScenario("post-100k", "100 KiB request bodies, 1 KiB answers", {
    method: "POST",
    target: "/post",
    body: "x".repeat(100 * 1024),
  }),
];

function bodyScenario(name: string, title: string, request: RequestShape): Scenario {
  return {
    name,
    title,
    async run(stage) {
      return stage.closedLoop(name, [
        { name: "nginx", peer: await stage.nginx(), requests: [request] },
        { name: "cardea", peer: await bareCardea(stage), requests: [request] },
      ]);
    },
  };
}

export function bareCardea(stage: Stage, accessLog = false): ReturnType<Stage["cardea"]> {
  return stage.cardea("catch-all", () => catchAllRoute(stage.originPort), { accessLog });
}
