/**
 * An outlet that another service switches (home automation, a rack controller):
 *
 *   POST <url>
 *   Content-Type: application/json
 *   X-Marcoboot-Timestamp: 1800000000                      seconds since 1970
 *   X-Marcoboot-Signature: sha256=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
 *   {"version":1,"id":"<uuid>","outlet":"a1","verb":"on" | "off" | "query"}
 *
 *   200 {"state":"on" | "off" | "unknown"}    what the outlet does now; for on and off any 2xx will do
 *
 * The receiver checks the signature, refuses timestamps more than 300 s away and
 * ids it has seen: then nobody can replay a request. 408, 429 and 5xx are tried
 * again (with another id), other statuses are refusals.
 */

import { randomUUID } from "node:crypto";
import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import type { PowerState } from "#protocol/node.ts";
import { type Clock, systemClock } from "../../clock.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { signatureHeaders } from "../../net/signature.ts";
import { definePowerDriver, type PowerDriver, type SettingsOf, secret } from "../driver.ts";
import { exchange, trustMembers } from "../exchange.ts";

const members = {
  url: Type.String({
    description: "where requests are posted to",
    pattern: "^https?://[^\\s@]+$", // no user and password: they would be shown
    maxLength: 2000,
  }),
  outlet: Type.String({ description: "name of the outlet there", minLength: 1, maxLength: 100 }),
  secret: secret({ description: "key of the signature, at least 16 characters" }),
  canQuery: Type.Boolean({ description: "the service answers the verb query", default: false }),
  ...trustMembers,
};
export type WebhookSettings = SettingsOf<typeof members>;

export function createWebhookDriver(clock: Pick<Clock, "now">): PowerDriver<WebhookSettings> {
  const send = async (
    settings: WebhookSettings,
    verb: "on" | "off" | "query",
    signal: AbortSignal,
  ): Promise<string> => {
    const { url, outlet, secret: key } = settings;
    const body = JSON.stringify({ version: 1, id: randomUUID(), outlet, verb });
    const headers = {
      "content-type": "application/json",
      ...signatureHeaders(key, clock.now(), body),
    };
    const question = { method: "POST", url: new URL(url), headers, body, trust: settings } as const;
    const answer = await exchange(question, signal);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    const reason = `webhook of outlet ${outlet}: status ${answer.status}`;
    const passing = answer.status === 408 || answer.status === 429 || answer.status >= 500;
    throw passing ? new PowerUnreachableError(reason) : new PowerRefusedError(reason);
  };

  return definePowerDriver({
    kind: "webhook",
    about: "another service, told by signed HTTP requests",
    settings: members,
    canQuery: true,
    minimumOffTime: milliseconds(2000),
    settleTime: milliseconds(5000),
    deviceOf: ({ url }) => new URL(url).origin,

    check({ url, secret: key }) {
      if (!URL.canParse(url)) throw new RangeError("url is not a URL");
      if (key.length < 16) throw new RangeError("secret has fewer than 16 characters");
    },

    async set(settings, state, signal) {
      await send(settings, state, signal);
    },

    async query(settings, signal) {
      if (!settings.canQuery) return "unknown";
      return stateOf(await send(settings, "query", signal), settings);
    },
  });
}

export const webhookDriver = createWebhookDriver(systemClock);

function stateOf(body: string, { outlet }: WebhookSettings): PowerState {
  let answer: unknown;
  try {
    answer = JSON.parse(body);
  } catch (cause) {
    throw new PowerUnreachableError(`webhook of outlet ${outlet}: the answer is not JSON`, {
      cause,
    });
  }
  const { state } = (answer ?? {}) as { readonly state?: unknown };
  if (state === "on" || state === "off" || state === "unknown") return state;
  throw new PowerUnreachableError(
    `webhook of outlet ${outlet}: its state is not on, off or unknown`,
  );
}
