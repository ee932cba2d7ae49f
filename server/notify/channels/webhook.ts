/**
 * Notices by HTTP, signed as the power driver of this name signs:
 *
 *   POST <url>
 *   Content-Type: application/json
 *   X-Marcoboot-Timestamp: 1800000000                      seconds since 1970
 *   X-Marcoboot-Signature: sha256=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
 *   {"version":1,"id":"<same when tried again>","server":"rack-server",
 *    "notices":[{"occasion":"job-failed","at":1800000000000,"subject":"…","text":"…"}]}
 *
 * Any 2xx is taken as delivered; redirects are not followed.
 */

import type { Clock } from "../../clock.ts";
import { UnavailableError } from "../../errors.ts";
import { signatureHeaders } from "../../net/signature.ts";
import type { Channel } from "../channel.ts";

export interface WebhookSettings {
  readonly url: string;
  readonly secret: string;
  /** Host name of this machine. */
  readonly server: string;
}

export function createWebhook(
  { url, secret, server }: WebhookSettings,
  clock: Pick<Clock, "now">,
): Channel {
  return {
    async send(notices, id, signal) {
      const body = JSON.stringify({
        version: 1,
        id,
        server,
        notices: notices.map(({ occasion, at, subject, text }) => ({
          occasion,
          at,
          subject,
          text,
        })),
      });
      const headers = {
        "content-type": "application/json",
        ...signatureHeaders(secret, clock.now(), body),
      };
      const response = await fetch(url, {
        method: "POST",
        headers,
        body,
        redirect: "manual",
        signal,
      }).catch((cause: Error) => {
        throw new UnavailableError(`${new URL(url).host} did not answer: ${reasonOf(cause)}`, {
          cause,
        });
      });
      await response.body?.cancel();
      if (!response.ok) {
        throw new UnavailableError(`${new URL(url).host} answered with status ${response.status}`);
      }
    },
  };
}

/** `fetch` says "fetch failed" and keeps the reason as its cause. */
function reasonOf(error: Error): string {
  return error.cause instanceof Error ? error.cause.message : error.message;
}
