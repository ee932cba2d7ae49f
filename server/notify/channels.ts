/** The channels of the configuration, each with its secret read. One file per kind in `channels/`. */

import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { ConfigurationError } from "../errors.ts";
import { readPrivate } from "../store/durable-file.ts";
import { createEmail } from "./channels/email.ts";
import { createWebhook } from "./channels/webhook.ts";
import type { NamedChannel } from "./notifier.ts";

const leastSecret = 16; // characters

/** @throws ConfigurationError when a secret's file is not there or two channels have one name */
export async function openChannels(
  { email, webhook }: Config["notifications"],
  server: string,
  clock: Pick<Clock, "now">,
): Promise<readonly NamedChannel[]> {
  const channels: NamedChannel[] = [];
  for (const { name, on, url, secretFile } of webhook) {
    const secret = await readSecret(secretFile);
    if (secret.length < leastSecret) {
      throw new ConfigurationError(`${secretFile} has fewer than ${leastSecret} characters`);
    }
    channels.push({ name, on, channel: createWebhook({ url, secret, server }, clock) });
  }
  for (const { name, on, passwordFile, ...settings } of email) {
    const password = passwordFile === undefined ? undefined : await readSecret(passwordFile);
    channels.push({
      name,
      on,
      channel: createEmail({ ...settings, ...(password !== undefined && { password }), server }),
    });
  }
  const names = channels.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new ConfigurationError(`two notification channels named ${twice}`);
  return channels;
}

async function readSecret(path: string): Promise<string> {
  const text = await readPrivate(path);
  if (text === undefined) throw new ConfigurationError(`${path} is not there: a channel needs it`);
  return text.trim();
}
