/**
 * `node:http` without the namespace that an import of it makes: that evaluates every export, and one of them is the client
 * of `fetch`, 2 MB that nobody here uses.
 */

export const http = process.getBuiltinModule("node:http");
