/** What is wrong with a certificate, in OpenSSL's words. */

/** Node.js adds how to start Node.js otherwise ("; if the root CA is installed locally, try ..."): no way out here. */
export function withoutAdvice(message: string): string {
  const at = message.indexOf("; if the root CA");
  return at === -1 ? message : message.slice(0, at);
}
