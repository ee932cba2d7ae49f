/** Name, counts, whether the page is live, who is signed in. */

import { faceOf, type Look } from "../state/face.ts";
import type { PageContext } from "./context.ts";
import { Mark } from "./mark.tsx";

const counted: readonly Look[] = ["installed", "working", "ready", "failed"];

export function TopBar({ context }: { context: PageContext }) {
  const { site, session, live } = context;
  const state = session.state.value;
  const faces = site.racks.value.flatMap((rack) =>
    rack.stacks.flatMap((stack) => site.tilesOf(rack, stack).map(faceOf)),
  );
  return (
    <header class="top-bar">
      <h1 class="brand">
        <svg class="brand-mark" viewBox="0 0 32 32" aria-hidden="true">
          <rect x="3" y="5" width="26" height="6" rx="2" />
          <rect x="3" y="13" width="26" height="6" rx="2" />
          <rect x="3" y="21" width="26" height="6" rx="2" />
        </svg>
        marcoboot
      </h1>
      <ul class="counts" aria-label="Nodes by state">
        {counted.map((look) => (
          <li key={look} class={`count look-${look}`}>
            <Mark look={look} />
            <span>
              <b>{faces.filter((face) => face.look === look).length}</b> {look}
            </span>
          </li>
        ))}
      </ul>
      <p class={`pulse pulse-${live.state.value}`}>
        <span class="pulse-dot" aria-hidden="true" />
        {live.state.value}
      </p>
      {state.step === "signed-in" && (
        <p class="who">
          {state.user.name} <span class="quiet">{state.user.role}</span>
          <button type="button" class="button-quiet" onClick={() => void session.signOut()}>
            Sign out
          </button>
        </p>
      )}
    </header>
  );
}
