import test from "ava";
import type { Assignment, Report } from "#protocol/agent.ts";
import type { Connection } from "../../netinst/connection.ts";
import { openConsole } from "../../netinst/console.ts";
import { NetworkError } from "../../netinst/errors.ts";
import { startReporter } from "../../netinst/report.ts";

test("of more lines than are kept the newest are taken, and how many were left out is said", (t) => {
  const console = openConsole(false, () => undefined);
  for (let line = 1; line <= 210; line++) console.info(`line ${line}`);
  const taken = console.take();
  t.is(taken.length, 200);
  t.deepEqual(taken.slice(0, 2), ["(11 lines left out)", "line 12"]);
  t.is(taken.at(-1), "line 210");
  t.deepEqual(console.take(), []);
});

test("what was said while a report was lost is in the next one, once", async (t) => {
  const console = openConsole(false, () => undefined);
  const reports: Report[] = [];
  let isAway = true;
  const post: Connection["post"] = async (_path, body) => {
    if (isAway) {
      isAway = false;
      console.info("meanwhile");
      throw new NetworkError("away");
    }
    reports.push(body as Report);
    return {};
  };
  const assignment = { action: "install", taskId: "task_1", epoch: 1 } as Assignment;
  const reporter = startReporter(
    {
      ...{ assignment, bootId: "boot-1", console, intervalMs: 1 },
      connection: () => ({ post }) as Connection,
    },
    new AbortController().signal,
  );
  console.info("before");
  await reporter.failed("the disk is gone", true);
  console.info("later");
  await reporter.failed("the disk is gone", true);
  t.deepEqual(
    reports.map(({ log }) => log),
    [["before", "meanwhile"], ["later"]],
  );
});
