/** What is asked before a job is made of the chosen nodes, with what each of them would do and lose. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Image } from "#protocol/image.ts";
import type { JobKindName, JobPlan } from "#protocol/job.ts";
import type { Node } from "#protocol/node.ts";
import { call } from "../api.ts";
import { selectorOf } from "../state/selection.ts";
import type { PageContext } from "./context.ts";
import { SelectField, TextField } from "./field.tsx";

/** Kinds that can be asked for here, in the order of their buttons. */
export const askedKinds = [
  "install",
  "update",
  "capture",
  "reboot",
  "shutdown",
] as const satisfies readonly JobKindName[];
export type AskedKind = (typeof askedKinds)[number];

interface JobForm {
  /** Digest. */
  readonly image: Signal<string>;
  /** Of an update; commas between. */
  readonly keep: Signal<string>;
  /** Of the image that is made. */
  readonly name: Signal<string>;
  readonly format: Signal<string>;
  readonly leaveOut: Signal<string>;
}

export function useJobForm(): JobForm {
  return {
    image: useSignal(""),
    keep: useSignal(""),
    name: useSignal(""),
    format: useSignal("rootfs-tar"),
    leaveOut: useSignal(""),
  };
}

export function parametersOf(kind: AskedKind, form: JobForm): object {
  switch (kind) {
    case "install":
      return { image: form.image.value, authorizedKeys: [] };
    case "update":
      return { image: form.image.value, keep: pathsIn(form.keep) };
    case "capture":
      return {
        name: form.name.value.trim(),
        format: form.format.value,
        leaveOut: pathsIn(form.leaveOut),
      };
    case "reboot":
    case "shutdown":
      return { warnSeconds: 0 };
  }
}

function pathsIn({ value }: Signal<string>): readonly string[] {
  return value
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");
}

interface QuestionProps {
  readonly kind: AskedKind;
  readonly context: PageContext;
  readonly nodes: readonly Node[];
  readonly form: JobForm;
}

export function JobQuestion({ kind, context, nodes, form }: QuestionProps) {
  if (kind === "reboot" || kind === "shutdown") {
    return <p>{nodes.map((node) => node.name).join(", ")}</p>;
  }
  return (
    <>
      {kind === "capture" ? (
        <CaptureFields form={form} />
      ) : (
        <ImageField image={form.image} images={context.site.images.value} nodes={nodes} />
      )}
      {kind === "update" && (
        <TextField
          text="Kept paths"
          hint="besides the image's own; commas between"
          value={form.keep}
        />
      )}
      <PlanList kind={kind} nodes={nodes} form={form} />
    </>
  );
}

function CaptureFields({ form }: { form: JobForm }) {
  return (
    <>
      <TextField text="Name of the image" hint="a-z, 0-9, . _ -" value={form.name} isNeeded />
      <SelectField
        text="What"
        value={form.format}
        options={[
          ["rootfs-tar", "the files of its system"],
          ["raw", "its whole disk"],
        ]}
      />
      <TextField text="Left out" hint="paths; commas between" value={form.leaveOut} />
    </>
  );
}

interface ImageProps {
  readonly image: Signal<string>;
  readonly images: readonly Image[];
  readonly nodes: readonly Node[];
}

function ImageField({ image, images, nodes }: ImageProps) {
  useEffect(() => {
    const here = images.filter(({ isMissing }) => !isMissing);
    const fitting = here.find((one) =>
      nodes.every(({ architecture }) => !architecture || architecture === one.architecture),
    );
    if (image.value === "") image.value = (fitting ?? here[0])?.digest ?? "";
  }, [images, nodes, image]);
  return (
    <SelectField
      text="Image"
      value={image}
      options={images.map((one) => [one.digest, textOf(one)])}
    />
  );
}

function textOf({ name, architecture, format, digest, origin, isMissing }: Image): string {
  const from = origin && `of ${origin.name}`;
  const lack = isMissing && "missing: push it again";
  return [name, architecture, format, digest.slice(0, 8), from, lack].filter(Boolean).join(" · ");
}

function PlanList({ kind, nodes, form }: Pick<QuestionProps, "kind" | "nodes" | "form">) {
  const plan = useSignal<JobPlan | undefined>(undefined);
  const refusal = useSignal<string | undefined>(undefined);
  const selector = selectorOf(nodes);
  const isReady = kind === "capture" ? form.name.value.trim() !== "" : form.image.value !== "";
  const asked = JSON.stringify(parametersOf(kind, form));
  useEffect(() => {
    if (!isReady) return;
    let isWanted = true;
    const body = { kind, selector, parameters: JSON.parse(asked), dryRun: true };
    call<JobPlan>("POST", "/api/v1/jobs", body).then(
      (found) => {
        if (!isWanted) return;
        plan.value = found;
        refusal.value = undefined;
      },
      (error: unknown) => {
        if (isWanted) refusal.value = error instanceof Error ? error.message : String(error);
      },
    );
    return () => {
      isWanted = false; // the form says something else by then
    };
  }, [kind, asked, selector, isReady, plan, refusal]);
  return (
    <>
      {refusal.value !== undefined && <p class="refusal">{refusal.value}</p>}
      <ul class="plan">
        {plan.value?.nodes.map((node) => (
          <li key={node.id}>
            <b>{node.name}</b>{" "}
            {node.refused !== undefined ? (
              <span class="refusal">will fail: {node.refused}</span>
            ) : (
              <span>{node.loses === undefined ? node.does : `loses ${node.loses}`}</span>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}
