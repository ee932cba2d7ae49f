/** What can be done with the chosen nodes, each asked for in proportion to what it costs. */

import { type Signal, useSignal } from "@preact/signals";
import type { Job } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { call } from "../api.ts";
import { obstacle, selectorOf, wordToType } from "../state/selection.ts";
import type { User } from "../state/session.ts";
import type { PageContext } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import {
  type AskedKind,
  askedKinds,
  JobQuestion,
  parametersOf,
  useJobForm,
} from "./job-question.tsx";
import { PlanFields, planOf, usePlanForm } from "./plan-fields.tsx";
import { PowerButton } from "./power-button.tsx";

interface BarProps {
  readonly context: PageContext;
  readonly toast: Signal<string | undefined>;
  readonly role: User["role"];
}

/** Like what they are on the command line. */
const verbs: Readonly<Record<AskedKind, string>> = {
  install: "Install",
  update: "Update",
  capture: "Make an image of",
  reboot: "Reboot",
  shutdown: "Shut down",
};
const buttons: Readonly<Record<AskedKind, string>> = { ...verbs, capture: "Make image" };

export function ActionBar({ context, toast, role }: BarProps) {
  const { site, selection } = context;
  const nodes = [...selection.ids.value].flatMap((id) => site.nodes.value.get(id) ?? []);
  const asked = useSignal<AskedKind>("reboot");
  const open = useSignal(false);
  const form = useJobForm();
  const plan = usePlanForm();
  if (nodes.length === 0) return null;

  const ask = (kind: AskedKind) => {
    asked.value = kind;
    open.value = true;
  };
  const request = async () => {
    const kind = asked.value;
    const parameters = parametersOf(kind, form);
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
      {askedKinds.map((kind) => {
        if (kind === "capture" && role !== "admin") return null;
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
            {buttons[kind]}…
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
        isHarsh={asked.value !== "reboot" && asked.value !== "capture"}
        {...(asked.value === "install" && { word: wordToType(nodes) })}
        action={request}
      >
        <JobQuestion kind={asked.value} context={context} nodes={nodes} form={form} />
        <PlanFields form={plan} />
      </Dialog>
    </section>
  );
}

function count(nodes: readonly Node[]): string {
  const [first] = nodes;
  return nodes.length === 1 && first ? first.name : `${nodes.length} nodes`;
}
