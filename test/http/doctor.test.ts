import test from "ava";
import type { Examination } from "../../server/doctor/doctor.ts";
import { until } from "../support/until.ts";
import { startTestServer, tokens } from "./support.ts";

test("the doctor answers from inside the server, and knows whom it has heard", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  server.events.publish({
    topic: "rogue-server",
    interface: "lo",
    kind: "dhcp",
    address: "10.77.0.9" as never,
  });
  const response = await server.fetch("/api/v1/doctor?listenSeconds=0", { token: tokens.admin });
  t.is(response.status, 200);
  const { checks, isHealthy } = (await response.json()) as Examination;
  const others = checks.find(({ name }) => name === "other servers")?.findings;
  t.deepEqual(
    others?.map(({ code }) => code),
    ["other-dhcp"],
  );
  t.false(isHealthy);
});

test("a rack that does not fit the settings any more is among what the doctor finds", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const racks = async () => {
    const response = await server.fetch("/api/v1/doctor?listenSeconds=0", { token: tokens.admin });
    const { checks } = (await response.json()) as Examination;
    return checks.find(({ name }) => name === "racks")?.findings.map(({ code }) => code);
  };
  t.deepEqual(await racks(), ["racks-fit"]);
  const slots = [{ name: "1", hostname: "far", address: "10.99.0.1" }];
  const outlet = { driver: "manual", settings: {} };
  server.store.racks.put({ name: "two", stacks: [{ name: "a", x: 0, y: 0, outlet, slots }] });
  t.deepEqual(await racks(), ["address-outside"]);
});

const isRoot = process.getuid?.() === 0;
const listening = isRoot ? test : test.skip;
if (!isRoot) console.warn("skipped: listening to frames needs root");

listening("one examination at a time; who leaves ends his own", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.close());
  const leaving = new AbortController();
  // the test's clock stands still: this one listens until nobody waits for it
  const first = server.fetch("/api/v1/doctor?listenSeconds=1", {
    token: tokens.admin,
    signal: leaving.signal,
  });
  const statusOfNext = async () =>
    (await server.fetch("/api/v1/doctor?listenSeconds=0", { token: tokens.admin })).status;
  await until(async () => (await statusOfNext()) === 429);
  leaving.abort();
  await t.throwsAsync(first, { name: "AbortError" });
  await until(async () => (await statusOfNext()) === 200);
  t.pass();
});
