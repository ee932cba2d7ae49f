/** Starts the page. */

import { effect } from "@preact/signals";
import { render } from "preact";
import { call } from "./api.ts";
import { App } from "./parts/app.tsx";
import { createLive } from "./state/live.ts";
import { createSelection } from "./state/selection.ts";
import { createSession } from "./state/session.ts";
import { createSite, type Snapshot } from "./state/site.ts";
import { openStream } from "./stream.ts";
import "./style/tokens.css";
import "./style/page.css";

const site = createSite();
const selection = createSelection();
const session = createSession(call);
const live = createLive(site, {
  fetchSnapshot: () => call<Snapshot>("GET", "/api/v1/snapshot"),
  openStream,
  later: (work, delayMs) => void setTimeout(work, delayMs),
  onSignedOut: () => session.expired(),
});

effect(() => {
  if (session.state.value.step === "signed-in") void live.start();
  else live.stop();
});

const root = document.getElementById("page");
if (root) render(<App context={{ site, selection, session, live }} />, root);
void session.begin();
