/** What went wrong with TLS towards an upstream, in words for the log, and whether the peer refused the handshake. */

import { withoutAdvice } from "../../../lib/certificate-fault.ts";

interface TlsError extends NodeJS.ErrnoException {
  /** OpenSSL's words: "wrong version number". */
  reason?: string;
}

/**
 * Alerts with which a server ends a handshake. With TLS 1.3 the client is through before the server has looked at the
 * client's certificate (RFC 8446 section 4.4.2.4), so that such an alert may answer the first bytes of a request.
 */
const REFUSALS =
  /ALERT_(?:HANDSHAKE_FAILURE|NO_CERTIFICATE|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|CERTIFICATE_REQUIRED|UNKNOWN_CA|ACCESS_DENIED)$/;

/** An error of the system (the connection was refused) is no fault of TLS: its code alone. */
export function handshakeFault(error: TlsError): string {
  if (error.code === undefined || error.syscall !== undefined) return error.code ?? error.message;
  if (error.code.startsWith("ERR_HTTP2_")) return `${error.message} (${error.code})`;
  return `TLS handshake failed: ${error.reason ?? withoutAdvice(error.message)} (${error.code})`;
}

/** The server did not accept us, and so has not looked at anything that came after. */
export function isRefusal(error: TlsError): boolean {
  return error.code !== undefined && error.code.startsWith("ERR_SSL_") && REFUSALS.test(error.code);
}
