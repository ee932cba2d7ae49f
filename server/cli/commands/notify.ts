/** `marcoboot notify …` */

import type { Occasion, StoredNotice } from "#protocol/notice.ts";
import { type Command, exitCodes, required } from "../command.ts";
import { type Page, timeText } from "../shapes.ts";

export const notifyCommands: readonly Command[] = [
  {
    noun: "notify",
    verb: "channels",
    about: "by which ways people are told, and of what",
    positionals: [],
    options: {},
    examples: ["marcoboot notify channels"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/notification-channels")) as Page<{
        readonly name: string;
        readonly on: readonly Occasion[];
      }>;
      output.table(
        ["channel", "tells of"],
        items.map(({ name, on }) => [name, on.join(" ")]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "notify",
    verb: "list",
    about: "what was told, or waits to be",
    positionals: [],
    options: {},
    examples: ["marcoboot notify list --json"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/notices")) as Page<StoredNotice>;
      output.table(
        ["at", "channel", "subject", "delivered"],
        items.map((one) => [
          timeText(one.notice.at),
          one.channel,
          one.notice.subject,
          deliveryOf(one),
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "notify",
    verb: "test",
    about: "send a test message by a channel",
    positionals: ["channel"],
    options: {},
    examples: ["marcoboot notify test mail"],
    async run({ client, output, positionals: [channel] }) {
      const name = required(channel, "channel");
      await client.send(
        "POST",
        `/api/v1/notification-channels/${encodeURIComponent(name)}/test`,
        {},
      );
      output.say(`${name} took the message`);
      return exitCodes.done;
    },
  },
];

function deliveryOf({ sentAt, nextAt, reason }: StoredNotice): string {
  if (sentAt !== undefined) return timeText(sentAt) ?? "";
  if (nextAt === undefined) return `given up: ${reason ?? ""}`;
  return reason === undefined ? "soon" : `again ${timeText(nextAt)}: ${reason}`;
}
