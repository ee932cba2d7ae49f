/** How requests to other services are signed, so that they can tell ours from anybody's. */

import { createHmac } from "node:crypto";
import type { Instant } from "#protocol/brand.ts";

/** HMAC-SHA256 (RFC 2104) in lower-case hexadecimal. */
export function signatureOf(key: string, timestamp: string, body: string): string {
  return createHmac("sha256", key).update(`${timestamp}.${body}`).digest("hex");
}

/** The receiver refuses a timestamp more than 300 s away: nobody can replay a request. */
export function signatureHeaders(key: string, now: Instant, body: string) {
  const timestamp = String(Math.floor(now / 1000));
  return {
    "x-marcoboot-timestamp": timestamp,
    "x-marcoboot-signature": `sha256=${signatureOf(key, timestamp, body)}`,
  };
}
