/** The page: forms until someone is signed in, then the rack. */

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Image } from "#protocol/image.ts";
import { call } from "../api.ts";
import { createPlanned } from "../state/planned.ts";
import type { User } from "../state/session.ts";
import { ActionBar } from "./action-bar.tsx";
import { ActivityList } from "./activity-list.tsx";
import type { PageContext } from "./context.ts";
import { SetupForm, SignInForm } from "./forms.tsx";
import { JobList } from "./job-list.tsx";
import { LearningPanel } from "./learning-panel.tsx";
import { NodePanel } from "./node-panel.tsx";
import { PlannedList } from "./planned-list.tsx";
import { RackFileButton } from "./rack-file-dialog.tsx";
import { RackView } from "./rack-view.tsx";
import { RuleList } from "./rule-list.tsx";
import { TopBar } from "./top-bar.tsx";
import { WeekView } from "./week-view.tsx";

export function App({ context }: { context: PageContext }) {
  const state = context.session.state.value;
  if (state.step === "loading") return <main class="gate" aria-busy="true" />;
  if (state.step === "setup") return <SetupForm session={context.session} />;
  if (state.step === "sign-in") return <SignInForm session={context.session} />;
  return <RackPage context={context} role={state.user.role} />;
}

const plannedAgainMs = 30_000;
const imagesAgainMs = 30_000;

/** Images are pushed elsewhere, and made by jobs that end: no event tells of them. */
function useImages(site: PageContext["site"]): void {
  const captures = site.jobs.value.filter(
    ({ kind, state }) => kind === "capture" && state === "done",
  );
  useEffect(() => {
    const read = () =>
      call<{ items: readonly Image[] }>("GET", "/api/v1/images").then(
        ({ items }) => site.keepImages(items),
        () => undefined, // the next time, or the banner says that the server is gone
      );
    void read();
    const timer = setInterval(() => void read(), imagesAgainMs);
    return () => clearInterval(timer);
  }, [site, captures.length]);
}

function RackPage({ context, role }: { context: PageContext; role: User["role"] }) {
  const { site, selection, live } = context;
  const canAct = role !== "viewer";
  const planned = useMemo(
    () =>
      createPlanned({
        get: (path) => call("GET", path),
        now: Date.now,
        viewersZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      }),
    [],
  );
  useEffect(() => {
    void planned.read();
    const timer = setInterval(() => void planned.read(), plannedAgainMs);
    return () => clearInterval(timer);
  }, [planned]);
  useImages(site);
  const toast = useSignal<string | undefined>(undefined);
  useEffect(() => {
    const clear = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) selection.clear();
    };
    addEventListener("keydown", clear);
    return () => removeEventListener("keydown", clear);
  }, [selection]);
  return (
    <>
      <TopBar context={context} />
      {live.state.value === "lost" && (
        <p class="banner" role="alert">
          <strong>Live updates are lost.</strong> What you see may be old; trying again…
        </p>
      )}
      {site.learning.value !== undefined && (
        <p class="banner banner-calm" role="status">
          <strong>Learning:</strong> {site.learning.value}
        </p>
      )}
      <main class="desk">
        <div class="desk-rack">
          <LearningPanel context={context} canAct={canAct} />
          {site.racks.value.length === 0 && <NoRack site={site} canAct={canAct} />}
          {site.racks.value.map((rack) => (
            <RackView key={rack.name} rack={rack} context={context} canAct={canAct} />
          ))}
          <Unplaced context={context} />
          <WeekView planned={planned} />
          <ActivityList site={site} />
        </div>
        <div class="desk-side">
          <NodePanel context={context} canAct={canAct} />
          <JobList context={context} canAct={canAct} />
          <PlannedList planned={planned} images={site.images.value} role={role} />
          <RuleList context={context} />
        </div>
      </main>
      {canAct && <ActionBar context={context} toast={toast} role={role} />}
      <p class="toast" role="status" hidden={toast.value === undefined}>
        {toast.value}
      </p>
    </>
  );
}

function NoRack({ site, canAct }: { site: PageContext["site"]; canAct: boolean }) {
  return (
    <section class="card empty-state">
      <h2>No rack yet</h2>
      <p>Describe stacks, slots and outlets in a file, then:</p>
      <pre>marcoboot rack apply lab.yaml{"\n"}marcoboot learn start lab</pre>
      {canAct && <RackFileButton site={site} />}
    </section>
  );
}

function Unplaced({ context }: { context: PageContext }) {
  const nodes = context.site.unplaced.value;
  if (nodes.length === 0) return null;
  return (
    <section class="card" aria-labelledby="unplaced">
      <h2 id="unplaced">In no slot</h2>
      <ul class="plain-list">
        {nodes.map((node) => (
          <li key={node.id}>
            <code>{node.mac}</code> {node.name} · {node.state}
          </li>
        ))}
      </ul>
    </section>
  );
}
