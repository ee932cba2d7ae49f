import test from "ava";
import { createLive, type Stream } from "../../web/state/live.ts";
import { createSession } from "../../web/state/session.ts";
import { createSite, type Snapshot } from "../../web/state/site.ts";
import { start } from "../http/support.ts";

const empty: Snapshot = {
  lastEventId: 7,
  now: start,
  racks: [],
  nodes: [],
  jobs: [],
  tasks: [],
  images: [],
};

function fakeBrowser(fetchSnapshot: () => Promise<Snapshot> = async () => empty) {
  const paths: string[] = [];
  const listeners = new Map<string, (data: string) => void>();
  let isClosed = false;
  let later: (() => void) | undefined;
  let signedOut = 0;
  const live = createLive(createSite(), {
    fetchSnapshot,
    openStream: (path): Stream => {
      paths.push(path);
      isClosed = false;
      return {
        get isClosed() {
          return isClosed;
        },
        on: (name, listener) => void listeners.set(name, listener),
        close: () => undefined,
      };
    },
    later: (work) => {
      later = work;
    },
    onSignedOut: () => {
      signedOut += 1;
    },
  });
  return {
    live,
    paths,
    say: (name: string) => listeners.get(name)?.("{}"),
    die: () => {
      isClosed = true;
      listeners.get("error")?.("");
    },
    timePasses: () => later?.(),
    signedOut: () => signedOut,
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("the stream begins where the snapshot ended", async (t) => {
  const { live, paths, say } = fakeBrowser();
  await live.start();
  t.deepEqual(paths, ["/api/v1/events?after=7"]);
  say("open");
  t.is(live.state.value, "live");
});

test("a broken stream is told, and the browser's own retry makes it live again", async (t) => {
  const { live, paths, say } = fakeBrowser();
  await live.start();
  say("open");
  say("error");
  t.is(live.state.value, "lost");
  say("open");
  t.is(live.state.value, "live");
  t.is(paths.length, 1);
});

test("a stream that the browser gave up begins with a new snapshot", async (t) => {
  const { live, paths, die, timePasses } = fakeBrowser();
  await live.start();
  die();
  t.is(live.state.value, "lost");
  timePasses();
  await settled();
  t.is(paths.length, 2);
});

test("events too old to be sent again lead to a new snapshot", async (t) => {
  const { live, paths, say } = fakeBrowser();
  await live.start();
  say("reset");
  await settled();
  t.is(paths.length, 2);
});

test("an ended session leads to the sign-in form", async (t) => {
  const { live, paths, signedOut } = fakeBrowser(async () => {
    throw Object.assign(new Error("sign in first"), { status: 401 });
  });
  await live.start();
  t.is(signedOut(), 1);
  t.deepEqual(paths, []);
});

test("without users the set-up form is shown, and a refusal is kept for it", async (t) => {
  const session = createSession(async (method, path) => {
    if (method === "GET" && path === "/api/v1/setup") return { needed: true } as never;
    throw new Error("wrong set-up code");
  });
  await session.begin();
  t.is(session.state.value.step, "setup");
  await session.setup({ code: "x", name: "anna", password: "long enough" });
  t.is(session.state.value.step, "setup");
  t.is(session.refusal.value, "wrong set-up code");
});
