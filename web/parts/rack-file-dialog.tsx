/** A rack as its file: what a change would do is shown before it is kept. */

import { useSignal } from "@preact/signals";
import type { Rack, RackReport } from "#protocol/rack.ts";
import { call, callTagged } from "../api.ts";
import type { Site } from "../state/site.ts";
import { Dialog } from "./dialog.tsx";

const firstFile = `name: lab
stacks:
  - name: a
    slots: 4
    outlet: { driver: manual }
`;

/** @param name - of the rack to change; undefined: a new one */
export function RackFileButton({ name, site }: { name?: string; site: Site }) {
  const open = useSignal(false);
  const text = useSignal("");
  const tag = useSignal<string | undefined>(undefined);
  const report = useSignal<RackReport | undefined>(undefined);
  const refusal = useSignal<string | undefined>(undefined);

  const begin = async () => {
    text.value = firstFile;
    report.value = undefined;
    refusal.value = undefined;
    if (name !== undefined) {
      const found = await callTagged<string>("GET", `/api/v1/racks/${name}/file`);
      text.value = found.value;
      tag.value = found.tag;
    }
    open.value = true;
  };
  const check = async (): Promise<RackReport | undefined> => {
    try {
      refusal.value = undefined;
      report.value = await call<RackReport>("POST", "/api/v1/rack-checks", text.value);
    } catch (error) {
      report.value = undefined;
      refusal.value = error instanceof Error ? error.message : String(error);
    }
    return report.value;
  };
  const keep = async () => {
    const found = report.value ?? (await check());
    if (!found) throw new Error("the file is not right yet");
    const seen = found.revision === undefined ? undefined : `"${found.revision}"`;
    const ifMatch = found.name === name ? tag.value : seen;
    const path = `/api/v1/racks/${found.name}`;
    site.keepRack((await callTagged<Rack>("PUT", path, text.value, ifMatch)).value);
  };
  return (
    <>
      <button type="button" class="button-quiet" onClick={() => void begin()}>
        {name === undefined ? "Describe a rack…" : "File…"}
      </button>
      <Dialog
        title={name === undefined ? "A new rack" : `Rack ${name} as a file`}
        open={open}
        actionText="Keep"
        action={keep}
      >
        <label class="field">
          <span>
            YAML <span class="quiet">secrets that say kept: true stay as they are</span>
          </span>
          <textarea
            class="code"
            rows={16}
            spellcheck={false}
            value={text.value}
            onInput={(event) => {
              text.value = event.currentTarget.value;
              report.value = undefined;
            }}
          />
        </label>
        <p>
          <button type="button" class="button-quiet" onClick={() => void check()}>
            What would change?
          </button>
        </p>
        {refusal.value !== undefined && (
          <p class="refusal" role="alert">
            {refusal.value}
          </p>
        )}
        {report.value && <ReportView report={report.value} />}
      </Dialog>
    </>
  );
}

function ReportView({ report: { differences, findings } }: { report: RackReport }) {
  return (
    <ul class="plain-list" aria-label="What would change">
      {differences.length === 0 && <li class="quiet">nothing changes</li>}
      {differences.map(({ where, before, after }) => (
        <li key={where}>
          <b>{where}</b> {before} → {after ?? "taken out"}
        </li>
      ))}
      {findings.map(({ code, text, remedy, severity }) => (
        <li key={`${code} ${text}`} class={severity === "problem" ? "refusal" : "quiet"}>
          {text}
          {remedy !== undefined && `: ${remedy}`}
        </li>
      ))}
    </ul>
  );
}
