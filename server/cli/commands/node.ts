/** `marcoboot node …` */

import type { Moment, Timeline } from "#protocol/timeline.ts";
import { type Command, confirm, exitCodes, required, textOf, yesOption } from "../command.ts";
import { clean } from "../output.ts";
import { type Node, type Page, timeText } from "../shapes.ts";
import { findingText } from "./finding.ts";

function slotText({ slot }: Node): string {
  return slot ? `${slot.rack}/${slot.stack}/${slot.slot}` : "-";
}

function describe(node: Node): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["name", node.name],
    ["id", node.id],
    ["state", node.reason ? `${node.state}: ${node.reason}` : node.state],
    ["power", node.power],
    ["connection", node.connection],
    ["slot", slotText(node)],
    ["mac", node.mac],
    ["address", node.address],
    ["firmware", node.firmware],
    ["architecture", node.architecture],
    ["agent", node.agent && `${node.agent.role} ${node.agent.version}`],
    ["last seen", node.agent && timeText(node.agent.lastSeen)],
    ["hardware", node.hardware?.model],
    ["image", node.image],
    ["certificate", node.certificateUntil && `until ${timeText(node.certificateUntil)}`],
    ["asks", node.asks?.map((ask) => `${ask.code} from ${ask.address}`).join(", ")],
  ];
  return rows.map(([name, value]) => `${name.padEnd(13)} ${value ?? "-"}`).join("\n");
}

function momentText({ at, until, times, source, text, isFault }: Moment): string {
  const again = times === 1 ? "" : ` (${times} times until ${timeText(until).slice(11)})`;
  return `${timeText(at)}  ${isFault ? "!" : " "} ${source.padEnd(10)} ${clean(text)}${again}`;
}

function timelineText({ mac, name, findings, moments }: Timeline): string {
  return [
    name === undefined ? `${mac}, no node yet` : `${name} (${mac})`,
    "",
    ...findings.map(findingText),
    ...(moments.length > 0 ? ["", ...moments.map(momentText)] : []),
  ].join("\n");
}

export const nodeCommands: readonly Command[] = [
  {
    noun: "node",
    verb: "list",
    about: "nodes and their state",
    positionals: [],
    options: {
      state: { type: "string", value: "STATE", about: "only those in this state" },
      rack: { type: "string", value: "NAME", about: "only those of this rack" },
    },
    examples: ["marcoboot node list --state failed", "marcoboot node list --json"],
    async run({ client, output, values }) {
      const query = new URLSearchParams();
      for (const name of ["state", "rack"]) {
        const value = textOf(values, name);
        if (value !== undefined) query.set(name, value);
      }
      const { items } = (await client.get(`/api/v1/nodes?${query}`)) as Page<Node>;
      output.table(
        ["name", "state", "power", "agent", "slot", "address", "mac", "firmware"],
        items.map((node) => [
          node.name,
          node.state,
          node.power,
          node.connection === "online" ? node.agent?.role : "offline",
          slotText(node),
          node.address,
          node.mac,
          node.firmware,
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "show",
    about: "everything about a node",
    positionals: ["NODE"],
    options: {},
    examples: ["marcoboot node show lab-a-1"],
    async run({ client, output, positionals }) {
      const name = required(positionals[0], "NODE");
      const node = (await client.get(`/api/v1/nodes/${encodeURIComponent(name)}`)) as Node;
      output.value(node, describe(node));
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "why",
    about: "why a node is stuck: what was heard of it, and what that means",
    positionals: ["NODE"],
    options: {
      hours: { type: "string", value: "HOURS", about: "how far back; default 24, at most 720" },
      lines: { type: "string", value: "N", about: "newest lines of the time line; default 60" },
    },
    examples: ["marcoboot node why lab-a-1", "marcoboot node why dc:a6:32:01:36:c2 --hours 1"],
    async run({ client, output, positionals, values }) {
      const name = required(positionals[0], "NODE");
      const query = new URLSearchParams({
        hours: textOf(values, "hours") ?? "24",
        limit: textOf(values, "lines") ?? "60",
      });
      const path = `/api/v1/nodes/${encodeURIComponent(name)}/timeline?${query}`;
      const timeline = (await client.get(path)) as Timeline;
      output.value(timeline, timelineText(timeline));
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "rename",
    about: "give a node another host name, from its next install on",
    positionals: ["NODE", "NAME"],
    options: {},
    examples: ["marcoboot node rename lab-a-1 db-1"],
    async run({ client, output, positionals }) {
      const path = `/api/v1/nodes/${encodeURIComponent(required(positionals[0], "NODE"))}`;
      const name = required(positionals[1], "NAME");
      output.value(await client.send("PATCH", path, { name }), `node is now ${name}`);
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "approve",
    about: "let a node enrol that asks, or that is held back",
    positionals: ["NODE"],
    options: {
      code: {
        type: "string",
        value: "CODE",
        about: "the code on its screen; needed if several ask",
      },
    },
    examples: ["marcoboot node approve lab-a-1", "marcoboot node approve lab-a-1 --code 4F2K-9QX1"],
    async run({ client, output, positionals, values }) {
      const name = required(positionals[0], "NODE");
      const code = textOf(values, "code");
      const query = code === undefined ? "" : `?${new URLSearchParams({ code })}`;
      const path = `/api/v1/nodes/${encodeURIComponent(name)}/approve${query}`;
      output.value(await client.send("POST", path), `${name} is approved`);
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "revoke",
    about: "end a node's certificate at once and hold the node back",
    positionals: ["NODE"],
    options: { yes: yesOption },
    examples: ["marcoboot node revoke lab-a-1 --yes"],
    async run(run) {
      const name = required(run.positionals[0], "NODE");
      const path = `/api/v1/nodes/${encodeURIComponent(name)}`;
      const node = (await run.client.get(path)) as Node;
      const effect = "will be cut off, its work stops, and it must be approved to come back";
      await confirm(run, `${node.name} (${node.mac}) ${effect}.`, node.name);
      const revoked = await run.client.send("POST", `${path}/revoke`);
      run.output.value(revoked, `${node.name} is revoked`);
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "retire",
    about: "free slot, name and address of a board that is gone",
    positionals: ["NODE"],
    options: { yes: yesOption },
    examples: ["marcoboot node retire lab-a-1 --yes"],
    async run(run) {
      const name = required(run.positionals[0], "NODE");
      const path = `/api/v1/nodes/${encodeURIComponent(name)}`;
      const node = (await run.client.get(path)) as Node;
      const loses = `slot ${slotText(node)}, name ${node.name}, address ${node.address ?? "-"}, certificate`;
      await confirm(run, `${node.name} (${node.mac}) will lose: ${loses}.`, node.name);
      const retired = await run.client.send("POST", `${path}/retire`);
      run.output.value(retired, `${node.name} is retired`);
      return exitCodes.done;
    },
  },
];
