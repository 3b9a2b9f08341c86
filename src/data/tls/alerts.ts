/** What a client is told when there will be no handshake: an alert (RFC 8446 6) before any cipher is agreed, or plain text. */

export const ALERTS = {
  "access-denied": 49,
  "decode-error": 50,
  "protocol-version": 70,
  "internal-error": 80,
  "unrecognized-name": 112,
} as const;

export type AlertName = keyof typeof ALERTS;

const FATAL = 2;

export function alertRecord(name: AlertName): Buffer {
  return Buffer.from([21, 3, 1, 0, 2, FATAL, ALERTS[name]]);
}

const BODY = "the plain HTTP request was sent to an HTTPS port\n";

/** For those who speak HTTP without TLS here, as nginx tells them. */
export const PLAIN_HTTP_ANSWER = Buffer.from(
  `HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\nConnection: close\r\n\r\n${BODY}`,
);

/** Whether bytes begin as a request line does: a letter where TLS has 22. */
export function looksLikeHttp(bytes: Buffer): boolean {
  return bytes.length > 0 && bytes[0] >= 0x41 && bytes[0] <= 0x5a;
}
