/** The servers of a registry of which any will do: one by chance, then the others, until one answers. */

import { basicAuthorization } from "./registry-client.ts";

export interface RegistryServer {
  /** Ends with a slash; without credentials. */
  base: string;
  authorization: string | undefined;
  username: string;
  password: string;
}

export function serversOf(hosts: readonly string[], prefix: string): RegistryServer[] {
  return hosts.map((host) => {
    const url = new URL(host);
    const { username, password, protocol } = url;
    const path = prefix.replace(/^\/*/, "/").replace(/\/*$/, "/");
    return {
      base: `${protocol}//${url.host}${path}`,
      authorization: basicAuthorization(url),
      username: decodeURIComponent(username),
      password: decodeURIComponent(password),
    };
  });
}

/** What the first of them gives that does not throw; throws what the last one threw. */
export async function askAnyOf<T>(
  servers: readonly RegistryServer[],
  ask: (server: RegistryServer) => Promise<T>,
  random: () => number = Math.random,
): Promise<T> {
  const first = Math.floor(random() * servers.length);
  for (let i = 0; ; i++) {
    try {
      return await ask(servers[(first + i) % servers.length]);
    } catch (error) {
      if (i >= servers.length - 1) throw error;
    }
  }
}
