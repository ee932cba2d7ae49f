/** Rules: what nodes install by themselves, and what would come of it for one of them. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { RankedRule, RuleTrial } from "#protocol/rule.ts";
import { doesText, matchText } from "#protocol/rule-text.ts";
import { call } from "../api.ts";
import type { PageContext } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { AddRuleButton } from "./rule-form.tsx";

const againMs = 30_000;

export function RuleList({ context }: { context: PageContext }) {
  const rules = useSignal<readonly RankedRule[]>([]);
  const refusal = useSignal<string | undefined>(undefined);
  const state = context.session.state.value;
  const isAdmin = "user" in state && state.user.role === "admin";
  const read = async () => {
    try {
      rules.value = (await call<{ items: readonly RankedRule[] }>("GET", "/api/v1/rules")).items;
      refusal.value = undefined;
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
  };
  useEffect(() => {
    void read();
    const timer = setInterval(() => void read(), againMs);
    return () => clearInterval(timer);
  }, []);
  const own = rules.value.filter(({ origin }) => origin === "server").map(({ name }) => name);
  return (
    <section class="card" aria-labelledby="rules">
      <h2 id="rules">Rules</h2>
      <p class="quiet">
        {rules.value.length === 0
          ? "None: a node that is trusted for the first time is left alone."
          : "The first that matches a node that is trusted for the first time counts."}
      </p>
      <ol class="plain-list">
        {rules.value.map((rule) => (
          <li key={`${rule.origin} ${rule.name}`} class="planned">
            <b>{rule.name}</b> {doesText(rule)}{" "}
            <span class="quiet">
              {matchText(rule)} · {rule.origin === "server" ? "server" : "rack file"}
            </span>
            {isAdmin && rule.origin === "server" && <RemoveButton name={rule.name} read={read} />}
          </li>
        ))}
      </ol>
      {refusal.value !== undefined && (
        <p class="refusal" role="alert">
          {refusal.value}
        </p>
      )}
      {isAdmin && <AddRuleButton site={context.site} names={own} read={read} />}
      <Try context={context} />
    </section>
  );
}

function RemoveButton({ name, read }: { name: string; read: () => Promise<void> }) {
  const open = useSignal(false);
  const remove = async () => {
    await call("DELETE", `/api/v1/rules/${encodeURIComponent(name)}`);
    await read();
  };
  return (
    <>
      <button
        type="button"
        class="button-quiet"
        aria-label={`Remove rule ${name}`}
        onClick={() => {
          open.value = true;
        }}
      >
        Remove…
      </button>
      <Dialog title={`Remove rule ${name}`} open={open} actionText="Remove" isHarsh action={remove}>
        <p>Nodes that are trusted from now on are asked by the rules that are left.</p>
      </Dialog>
    </>
  );
}

/** Asks, and does nothing. */
function Try({ context: { site } }: { context: PageContext }) {
  const trial = useSignal<RuleTrial | undefined>(undefined);
  const refusal = useSignal<string | undefined>(undefined);
  const nodes = [...site.nodes.value.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  if (nodes.length === 0) return null;
  const ask = async (id: string) => {
    trial.value = undefined;
    refusal.value = undefined;
    if (id === "") return;
    try {
      trial.value = await call<RuleTrial>("GET", `/api/v1/nodes/${id}/rules`);
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
  };
  return (
    <>
      <label class="field">
        <span>What would come of them for</span>
        <select onChange={(event) => void ask(event.currentTarget.value)}>
          <option value="">no node</option>
          {nodes.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <Verdicts trial={trial} refusal={refusal} />
    </>
  );
}

function Verdicts({
  trial,
  refusal,
}: {
  trial: Signal<RuleTrial | undefined>;
  refusal: Signal<string | undefined>;
}) {
  return (
    <div role="status">
      {refusal.value !== undefined && <p class="refusal">{refusal.value}</p>}
      {trial.value && (
        <>
          <p>
            <b>{trial.value.text}</b>
          </p>
          <ul class="plain-list quiet">
            {trial.value.verdicts.map(({ name, origin, why }) => (
              <li key={`${origin} ${name}`}>
                {name}: {why.length === 0 ? "matches" : why.join("; ")}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
