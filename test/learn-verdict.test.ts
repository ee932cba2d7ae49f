/** The judge of simulated racks: what is wrong is seen. */

import test from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import type { Flag } from "#protocol/learning.ts";
import { type Findings, type JudgedBoard, judge } from "../scripts/lab/learn-verdict.ts";

const one = parseMacAddress("dc:a6:32:5e:00:00");
const other = parseMacAddress("dc:a6:32:5e:00:01");
const stranger = parseMacAddress("dc:a6:32:5e:00:02");

function board(mac: string, slot: string, fault?: JudgedBoard["fault"]): JudgedBoard {
  return { board: { mac }, place: { stack: "a", slot }, fault, outletFault: undefined };
}

function findings(
  slots: Readonly<Record<string, string>>,
  flagged: readonly Flag[] = [],
): Findings {
  return {
    status: { state: "done", slots: [], flagged },
    nodes: Object.entries(slots).map(([mac, where]) => {
      const [stack = "", slot = ""] = where.split("/");
      return { mac: parseMacAddress(mac), slot: { rack: "sim", stack, slot } };
    }),
  };
}

const perSlot = { perSlotOutlets: true, senses: true };
const perStack = { perSlotOutlets: false, senses: true };
const both = [board(one, "1"), board(other, "2")];

test("boards in their slots are right, and nothing is to be said", (t) => {
  const { result, problems } = judge(both, findings({ [one]: "a/1", [other]: "a/2" }), perSlot, 3);
  t.deepEqual(result, { boards: 2, right: 2, wrong: 0, flagged: [], seconds: 3 });
  t.deepEqual(problems, []);
});

test("two boards in each other's slots are wrong where each slot has an outlet", (t) => {
  const { result, problems } = judge(both, findings({ [one]: "a/2", [other]: "a/1" }), perSlot, 3);
  t.is(result.wrong, 2);
  t.is(problems.length, 2);
});

test("where a stack has one outlet they are right: nothing tells its slots apart", (t) => {
  const { result } = judge(both, findings({ [one]: "a/2", [other]: "a/1" }), perStack, 3);
  t.is(result.right, 2);
});

test("a foreign board with a slot is wrong", (t) => {
  const foreign: JudgedBoard = {
    board: { mac: stranger },
    place: undefined,
    fault: "foreign",
    outletFault: undefined,
  };
  const { result, problems } = judge([foreign], findings({ [stranger]: "a/1" }), perStack, 3);
  t.deepEqual([result.boards, result.wrong], [0, 1]);
  t.true(problems.includes(`${stranger} (foreign, foreign) was placed in a/1`));
});

test("a sound board without a slot is missed, a dead one is not", (t) => {
  const boards = [board(one, "1"), board(other, "2", "dead")];
  const dead: Flag = { reason: "dead", text: "nobody was heard", stack: "a", answers: [] };
  t.deepEqual(judge(boards, findings({}, [dead]), perStack, 3).problems, [
    `${one} (a/1) has no slot`,
  ]);
});

test("a fault that is flagged for another reason is not flagged", (t) => {
  const late: Flag = { reason: "late", text: "it came late", stack: "a", answers: [] };
  const { problems } = judge([board(one, "1", "dead")], findings({}, [late]), perStack, 3);
  t.deepEqual(problems, [
    `${one} (a/1, dead) was not flagged as dead`,
    "flagged without being so: late a it came late",
  ]);
});

test("learning that has not ended well is told", (t) => {
  const failed: Findings = {
    status: { state: "failed", reason: "the disk is full", slots: [], flagged: [] },
    nodes: [],
  };
  t.deepEqual(judge([], failed, perStack, 3).problems, ["learning failed: the disk is full"]);
});

test("a board of an outlet that stays on may be taken for a foreign one, a sound board may not", (t) => {
  const foreign: Flag = {
    reason: "foreign",
    text: "heard with everything off",
    mac: one,
    answers: [],
  };
  const stuck: Flag = { reason: "stuck-on", text: "is still on", stack: "a", answers: [] };
  const powered: JudgedBoard = { ...board(one, "1"), outletFault: "stuck-on" };
  t.deepEqual(judge([powered], findings({}, [foreign, stuck]), perStack, 3).problems, []);
  const { problems } = judge([board(one, "1")], findings({ [one]: "a/1" }, [foreign]), perStack, 3);
  t.is(problems.length, 1);
});

test("outlets that do not sense are not asked for what is wrong with them", (t) => {
  const dark: JudgedBoard = { ...board(one, "1"), outletFault: "stuck-off" };
  const dead: Flag = { reason: "dead", text: "nobody was heard", stack: "a", answers: [] };
  t.deepEqual(judge([dark], findings({}, [dead]), { ...perStack, senses: false }, 3).problems, []);
});
