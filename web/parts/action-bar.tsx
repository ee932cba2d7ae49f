/** What can be done with the chosen nodes, each asked for in proportion to what it costs. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Job, JobKindName } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { call } from "../api.ts";
import { obstacle, selectorOf, wordToType } from "../state/selection.ts";
import type { PageContext } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { PlanFields, planOf, usePlanForm } from "./plan-fields.tsx";
import { PowerButton } from "./power-button.tsx";

interface Plan {
  readonly nodes: readonly {
    readonly id: string;
    readonly name: string;
    readonly loses?: string;
    readonly refused?: string;
  }[];
}

interface BarProps {
  readonly context: PageContext;
  readonly toast: Signal<string | undefined>;
}

export function ActionBar({ context, toast }: BarProps) {
  const { site, selection } = context;
  const nodes = [...selection.ids.value].flatMap((id) => site.nodes.value.get(id) ?? []);
  const asked = useSignal<JobKindName>("reboot");
  const open = useSignal(false);
  const image = useSignal("");
  const plan = usePlanForm();
  if (nodes.length === 0) return null;

  const ask = (kind: JobKindName) => {
    asked.value = kind;
    open.value = true;
  };
  const request = async () => {
    const kind = asked.value;
    const parameters =
      kind === "install" ? { image: image.value, authorizedKeys: [] } : { warnSeconds: 0 };
    const body = { kind, selector: selectorOf(nodes), parameters, ...planOf(plan) };
    const job = await call<Job>("POST", "/api/v1/jobs", body);
    const outcome = job.waitsFor === undefined ? "has begun" : `waits: ${job.waitsFor}`;
    toast.value = `${job.kind} of ${count(nodes)} ${outcome}`;
    setTimeout(() => {
      toast.value = undefined;
    }, 5000);
  };
  return (
    <section class="action-bar" aria-label="Actions on the selection">
      <p>
        <b>{count(nodes)}</b> <span class="quiet">selected</span>
      </p>
      {(["install", "reboot", "shutdown"] as const).map((kind) => {
        const reason = obstacle(kind, nodes, site.images.value.length);
        return (
          <button
            key={kind}
            type="button"
            class={kind === "install" ? "button" : "button-plain"}
            disabled={reason !== undefined}
            title={reason}
            onClick={() => ask(kind)}
          >
            {verbs[kind]}…
          </button>
        );
      })}
      <PowerButton nodes={nodes} toast={toast} />
      <button type="button" class="button-quiet" onClick={() => selection.clear()}>
        Clear
      </button>
      <Dialog
        title={`${verbs[asked.value]} ${count(nodes)}`}
        open={open}
        actionText={`${verbs[asked.value]} ${count(nodes)}`}
        isHarsh={asked.value !== "reboot"}
        {...(asked.value === "install" && { word: wordToType(nodes) })}
        action={request}
      >
        {asked.value === "install" ? (
          <InstallQuestion context={context} nodes={nodes} image={image} />
        ) : (
          <p>{nodes.map((node) => node.name).join(", ")}</p>
        )}
        <PlanFields form={plan} />
      </Dialog>
    </section>
  );
}

const verbs: Readonly<Record<JobKindName, string>> = {
  install: "Install",
  update: "Update",
  reboot: "Reboot",
  shutdown: "Shut down",
  identify: "Identify",
  inventory: "Look at",
  "burn-in": "Test",
  run: "Run a program on",
  copy: "Copy a file to",
  capture: "Make an image of",
  "power-on": "Switch on",
  "power-off": "Switch off",
  "power-cycle": "Switch off and on",
};

function count(nodes: readonly Node[]): string {
  const [first] = nodes;
  return nodes.length === 1 && first ? first.name : `${nodes.length} nodes`;
}

interface InstallProps {
  readonly context: PageContext;
  readonly nodes: readonly Node[];
  readonly image: Signal<string>;
}

function InstallQuestion({ context, nodes, image }: InstallProps) {
  const images = context.site.images.value;
  const plan = useSignal<Plan | undefined>(undefined);
  const refusal = useSignal<string | undefined>(undefined);
  const selector = selectorOf(nodes);
  useEffect(() => {
    const fitting = images.find((one) =>
      nodes.every(({ architecture }) => !architecture || architecture === one.architecture),
    );
    if (image.value === "") image.value = (fitting ?? images[0])?.digest ?? "";
  }, [images, nodes, image]);
  useEffect(() => {
    if (image.value === "") return;
    const parameters = { image: image.value, authorizedKeys: [] };
    const body = { kind: "install", selector, parameters, dryRun: true };
    call<Plan>("POST", "/api/v1/jobs", body).then(
      (found) => {
        plan.value = found;
        refusal.value = undefined;
      },
      (error: unknown) => {
        refusal.value = error instanceof Error ? error.message : String(error);
      },
    );
  }, [image.value, selector, image, plan, refusal]);
  return (
    <>
      <label class="field">
        <span>Image</span>
        <select
          value={image.value}
          onChange={(event) => {
            image.value = event.currentTarget.value;
          }}
        >
          {images.map((one) => (
            <option key={one.digest} value={one.digest}>
              {one.name} · {one.architecture} · {one.format} · {one.digest.slice(0, 8)}
            </option>
          ))}
        </select>
      </label>
      {refusal.value !== undefined && <p class="refusal">{refusal.value}</p>}
      <ul class="plan">
        {plan.value?.nodes.map((node) => (
          <li key={node.id}>
            <b>{node.name}</b>{" "}
            {node.refused !== undefined ? (
              <span class="refusal">will fail: {node.refused}</span>
            ) : (
              <span>loses {node.loses}</span>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}
