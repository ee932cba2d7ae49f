/** `marcoboot node …` */

import { targetDisk } from "#protocol/disk.ts";
import type { Moment, Timeline } from "#protocol/timeline.ts";
import {
  type Command,
  CommandError,
  confirm,
  exitCodes,
  flagOf,
  type Run,
  required,
  textOf,
  yesOption,
} from "../command.ts";
import { clean } from "../output.ts";
import { type Image, type Node, type Page, timeText } from "../shapes.ts";
import { findingText } from "./finding.ts";
import { describe, placeText, stateText } from "./node-text.ts";

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

/** The node of a command, or its disk named by `--disk`; a disk without a serial number cannot be told again. */
async function protectable(run: Run): Promise<{ path: string; what: string; word: string }> {
  const name = required(run.positionals[0], "NODE");
  const nodePath = `/api/v1/nodes/${encodeURIComponent(name)}`;
  const wanted = textOf(run.values, "disk");
  if (wanted === undefined) return { path: `${nodePath}/protection`, what: name, word: name };
  const node = (await run.client.get(nodePath)) as Node;
  const disks = node.hardware?.disks ?? [];
  const disk = targetDisk(disks, wanted);
  if (typeof disk === "string") throw new CommandError(disk, exitCodes.notFound);
  if (disk.serial === undefined) {
    throw new CommandError(
      `disk ${disk.name} of ${name} has no serial number`,
      exitCodes.failed,
      "protect the node instead",
    );
  }
  const path = `/api/v1/protected-disks/${encodeURIComponent(disk.serial)}`;
  return { path, what: `disk ${disk.name} (${disk.serial}) of ${name}`, word: disk.serial };
}

export const nodeCommands: readonly Command[] = [
  {
    noun: "node",
    verb: "list",
    about: "nodes and their state",
    positionals: [],
    options: {
      in: {
        type: "string",
        value: "STATE",
        about: "only those in this state: failed, installed, …",
      },
      rack: { type: "string", value: "NAME", about: "only those of this rack" },
    },
    examples: ["marcoboot node list --in failed", "marcoboot node list --json"],
    async run({ client, output, values }) {
      const query = new URLSearchParams();
      for (const [name, option] of Object.entries({ state: "in", rack: "rack" })) {
        const value = textOf(values, option);
        if (value !== undefined) query.set(name, value);
      }
      const { items } = (await client.get(`/api/v1/nodes?${query}`)) as Page<Node>;
      output.table(
        ["name", "state", "power", "agent", "slot", "address", "mac", "firmware"],
        items.map((node) => [
          node.name,
          stateText(node),
          node.power,
          node.connection === "online" ? node.agent?.role : "offline",
          placeText(node),
          node.address,
          node.mac,
          node.firmware,
        ]),
        items,
      );
      if (items.length === 0)
        output.say("no node here: boards appear once they boot from the network");
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
      const { items } = (await client.get("/api/v1/images")) as Page<Image>;
      output.value(node, describe(node, items));
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
    verb: "tag",
    about: "give a node tags, for selectors and rules",
    positionals: ["NODE", "TAGS"],
    options: { remove: { type: "boolean", about: "take them away instead" } },
    examples: ["marcoboot node tag lab-a-1 db,ssd", "marcoboot node tag lab-a-1 db --remove"],
    async run({ client, output, positionals, values }) {
      const path = `/api/v1/nodes/${encodeURIComponent(required(positionals[0], "NODE"))}`;
      const tags = required(positionals[1], "TAGS").split(",");
      const { tags: before = [] } = (await client.get(path)) as Node;
      const kept = before.filter((tag) => !tags.includes(tag));
      const wanted = flagOf(values, "remove") ? kept : [...kept, ...tags];
      const after = (await client.send("PATCH", path, { tags: wanted })) as Node;
      output.value(after, `${after.name}: ${after.tags?.join(", ") ?? "no tags"}`);
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "protect",
    about: "let no job write a node's disks, or one disk wherever it is",
    positionals: ["NODE"],
    options: {
      disk: { type: "string", value: "DISK", about: "only this one, by kernel name or serial" },
      reason: { type: "string", value: "TEXT", about: "why; told to whoever tries" },
    },
    examples: [
      'marcoboot node protect lab-a-1 --reason "the only copy of the archive"',
      'marcoboot node protect lab-a-1 --disk sdb --reason "customer data"',
    ],
    async run(run) {
      const reason = required(textOf(run.values, "reason"), "--reason");
      const { path, what } = await protectable(run);
      const answer = await run.client.send("PUT", path, { reason });
      run.output.value(answer, `${what} is protected`);
      return exitCodes.done;
    },
  },
  {
    noun: "node",
    verb: "release",
    about: "end the protection of a node or a disk",
    positionals: ["NODE"],
    options: {
      disk: { type: "string", value: "DISK", about: "only this one, by kernel name or serial" },
      yes: yesOption,
    },
    examples: ["marcoboot node release lab-a-1 --yes"],
    async run(run) {
      const { path, what, word } = await protectable(run);
      await confirm(run, `Jobs may write ${what} again.`, word);
      await run.client.send("DELETE", path);
      run.output.value({ released: what }, `${what} is no longer protected`);
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
      await confirm(run, `${node.name} (${node.mac}) ${effect}`, node.name);
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
      const loses = `slot ${placeText(node)}, name ${node.name}, address ${node.address ?? "-"}, certificate`;
      await confirm(run, `${node.name} (${node.mac}) will lose: ${loses}.`, node.name);
      const retired = await run.client.send("POST", `${path}/retire`);
      run.output.value(retired, `${node.name} is retired`);
      return exitCodes.done;
    },
  },
];
