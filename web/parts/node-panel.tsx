/** Details of the one chosen node, with the log of its latest task. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Task } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { remedyOf } from "#protocol/remedy.ts";
import { call } from "../api.ts";
import { stageText } from "../state/face.ts";
import type { PageContext } from "./context.ts";
import { NodeHardware } from "./node-hardware.tsx";
import { NodeLoad } from "./node-load.tsx";
import { NodeTimeline } from "./node-timeline.tsx";
import { Trust } from "./trust.tsx";

export function NodePanel({ context, canAct }: { context: PageContext; canAct: boolean }) {
  const { site, selection } = context;
  const [id] = selection.ids.value;
  const node = id !== undefined && selection.ids.value.size === 1 && site.nodes.value.get(id);
  if (!node) return null;
  const task = [...site.tasks.value.values()]
    .filter((one) => one.nodeId === node.id)
    .toSorted((a, b) => b.createdAt - a.createdAt)[0];
  return (
    <section class="card" aria-labelledby="node-title">
      <h2 id="node-title">{node.name}</h2>
      {node.reason !== undefined && <p class="refusal">{node.reason}</p>}
      <Trust node={node} context={context} />
      {node.connection === "online" && canAct && (
        <button
          type="button"
          class="button-plain"
          title="Blinks its light and writes its name on its screen for 30 s"
          onClick={() => void call("POST", "/api/v1/jobs", { kind: "identify", selector: node.id })}
        >
          Show which it is
        </button>
      )}
      <NodeTimeline node={node} context={context} />
      <Facts node={node} context={context} />
      <NodeLoad node={node} />
      <NodeHardware node={node} context={context} />
      {task && <TaskLog task={task} context={context} />}
    </section>
  );
}

function Facts({ node, context }: { node: Node; context: PageContext }) {
  const image = context.site.images.value.find((one) => one.digest === node.image);
  const { agent, slot, installedDisk } = node;
  const slots = installedDisk?.slots;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["State", node.state],
    ["Slot", slot && `${slot.rack} / ${slot.stack} / ${slot.slot}`],
    ["Power", node.power],
    ["Address", node.address],
    ["MAC", node.mac],
    ["Firmware", node.firmware],
    ["Agent", node.connection === "online" ? agent?.role : "offline"],
    ["Hostname", agent?.hostname],
    ["Image", image ? image.name : node.image?.slice(0, 12)],
    ["Made of", image?.origin?.name],
    ["Root slot", slots && `${slots.active}, data in ${slots.data}`],
  ];
  return (
    <dl class="facts">
      {rows.map(
        ([name, value]) =>
          value !== undefined && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** What was written before the page was opened is fetched; the rest comes by the stream. */
function TaskLog({ task, context }: { task: Task; context: PageContext }) {
  const before = useSignal<readonly string[]>([]);
  useEffect(() => {
    before.value = [];
    const seen = context.site.logs.peek().get(task.id)?.length ?? 0;
    call<{ items: readonly { line: string }[] }>("GET", `/api/v1/tasks/${task.id}/log`).then(
      ({ items }) => {
        before.value = items.slice(0, Math.max(0, items.length - seen)).map(({ line }) => line);
      },
      () => undefined,
    );
  }, [task.id, before, context.site.logs]);
  const remedy = remedyOf(task);
  const lines = [...before.value, ...(context.site.logs.value.get(task.id) ?? [])];
  return (
    <>
      <h3>
        {task.kind} <span class={`chip chip-${task.state}`}>{task.state}</span>{" "}
        <span class="quiet">{stageText(task)}</span>
      </h3>
      {task.reason !== undefined && <p class="refusal">{task.reason}</p>}
      {remedy !== undefined && <p>{remedy}</p>}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolled box must be reachable by keyboard */}
      <section class="log" tabIndex={0} aria-label="Log of the task">
        {lines.length === 0 ? "no lines yet" : lines.slice(-200).join("\n")}
      </section>
    </>
  );
}
