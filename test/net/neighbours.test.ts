import test from "ava";
import { UnavailableError } from "../../server/errors.ts";
import { createNeighbours } from "../../server/net/neighbours.ts";
import { ip, mac } from "../support/network.ts";

const first = mac("52:54:00:00:00:01");
const second = mac("52:54:00:00:00:02");

test("an entry is permanent, and replaces another", async (t) => {
  const batches: string[] = [];
  const neighbours = createNeighbours(async (lines) => void batches.push(lines));
  await neighbours.set(ip("10.77.0.10"), first, "lan0");
  t.deepEqual(batches, [
    "neigh replace 10.77.0.10 lladdr 52:54:00:00:00:01 dev lan0 nud permanent\n",
  ]);
});

test("entries asked for while one batch runs go into the next together", async (t) => {
  const batches: string[] = [];
  const running: (() => void)[] = [];
  const neighbours = createNeighbours((lines) => {
    batches.push(lines);
    return new Promise((resolve) => running.push(() => resolve(undefined)));
  });
  const one = neighbours.set(ip("10.77.0.10"), first, "lan0");
  await turn();
  const others = [
    neighbours.set(ip("10.77.0.11"), second, "lan0"),
    neighbours.set(ip("10.77.0.12"), second, "lan0"),
  ];
  running.shift()?.();
  await one;
  await turn();
  running.shift()?.();
  await Promise.all(others);
  t.deepEqual(
    batches.map((lines) => lines.split("\n").length - 1),
    [1, 2],
  );
});

test("a refusal reaches whoever asked, and the next call works", async (t) => {
  const answers = ["RTNETLINK answers: Operation not permitted", undefined];
  const neighbours = createNeighbours(async () => answers.shift());
  await t.throwsAsync(neighbours.set(ip("10.77.0.10"), first, "lan0"), {
    instanceOf: UnavailableError,
  });
  await t.notThrowsAsync(neighbours.set(ip("10.77.0.10"), first, "lan0"));
});

test("no entries, no process", async (t) => {
  await createNeighbours(() => Promise.reject(new Error("was run"))).setAll([]);
  t.pass();
});

/** Lets what waits for a promise run on. */
async function turn(): Promise<void> {
  for (let count = 0; count < 10; count++) await Promise.resolve();
}
