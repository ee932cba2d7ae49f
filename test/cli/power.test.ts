import test from "ava";
import { startTestServer, tokens } from "../http/support.ts";
import { run } from "./support.ts";

test("power off says what is shut down first, and --force does not ask the systems", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const node = server.store.nodes.byName("lab-a-1");
  if (!node) throw new Error("the test server has it");
  const agent = {
    role: "resident",
    version: "1",
    bootId: "b",
    hostname: "x",
    address: "",
  } as const;
  const since = node.createdAt;
  server.store.nodes.put({ ...node, agent: { ...agent, since, lastSeen: since } } as typeof node);
  const words = ["power", "off", "lab-a-1,lab-a-2", "--yes"];
  const gentle = await run([...words, "--warn", "20"], server, { token: tokens.operator });
  t.is(gentle.code, 0, gentle.err);
  t.is(gentle.out, "lab/a/1\tlab-a-1\toff after shutdown: job_1\nlab/a/2\tlab-a-2\toff\n");
  t.regex(gentle.err, /marcoboot job watch job_1; --force cuts at once/);
  t.like(server.store.jobs.list({ limit: 1 })[0], {
    parameters: { warnSeconds: 20, outlet: "off" },
  });
  const forced = await run([...words, "--force"], server, { token: tokens.operator });
  t.is(forced.out, "lab/a/1\tlab-a-1\toff\nlab/a/2\tlab-a-2\toff\n");
  const unsure = await run(["power", "cycle", "lab-a-1"], server, { token: tokens.operator });
  t.is(unsure.code, 2);
  t.regex(unsure.err, /cycle, after what runs there was shut down.: add --yes/);
});

test("the settings of a driver are listed with units, defaults and an example", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const ran = await run(["power", "drivers", "snmp-pdu"], server, { token: tokens.viewer });
  t.regex(ran.out, /port\t\tinteger 1-65535 = 161\tport/);
  t.regex(ran.out, /community\t\ttext, secret\twrite community/);
  t.regex(ran.out, /offSeconds\t\tnumber 0-60\tleast time off in a power cycle, in seconds/);
  t.regex(
    ran.err,
    /in a rack file: outlet: \{ driver: snmp-pdu, settings: \{ host: "10\.0\.0\.5", outlet: "5" \} \}/,
  );
  t.regex(ran.err, /least time off in a power cycle: 5 s; tells its state/);
});
