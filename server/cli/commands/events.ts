/** `marcoboot events follow`, `marcoboot audit list`, `marcoboot api get`. */

import type { AuditEntry } from "../../store/store.ts";
import { type Command, exitCodes, required, textOf } from "../command.ts";
import { type Page, type StoredEvent, timeText } from "../shapes.ts";

export const eventCommands: readonly Command[] = [
  {
    noun: "events",
    verb: "follow",
    about: "what happens, as it happens",
    positionals: [],
    options: {
      topics: { type: "string", value: "LIST", about: "node,job,task,lease,heard,power,…" },
    },
    examples: ["marcoboot events follow --topics heard,lease", "marcoboot events follow --json"],
    async run({ client, output, values, signal }) {
      const topics = textOf(values, "topics") ?? "";
      const path = `/api/v1/events?topics=${encodeURIComponent(topics)}`;
      for await (const value of client.events(path, signal)) {
        const stored = value as Partial<StoredEvent>;
        if (!stored.event) continue;
        const { topic, ...rest } = stored.event;
        output.line(stored, `${timeText(stored.at)}  ${topic}  ${JSON.stringify(rest)}`);
      }
      return exitCodes.done;
    },
  },
  {
    noun: "audit",
    verb: "list",
    about: "who did what, newest first",
    positionals: [],
    options: {},
    examples: ["marcoboot audit list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/audit")) as Page<AuditEntry>;
      output.table(
        ["at", "who", "what", "target", "detail"],
        items.map(({ at, who, what, target, detail }) => [timeText(at), who, what, target, detail]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "api",
    verb: "get",
    about: "any resource of the API, as JSON",
    positionals: ["PATH"],
    options: {},
    examples: ["marcoboot api get /nodes"],
    async run({ client, output, positionals }) {
      const path = required(positionals[0], "PATH");
      const value = await client.get(path.startsWith("/api/") ? path : `/api/v1${path}`);
      output.value(value, JSON.stringify(value, null, 2));
      return exitCodes.done;
    },
  },
];
