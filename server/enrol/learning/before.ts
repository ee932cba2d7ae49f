/** Which outlets were on before learning, and their power back when it ends. */

import type { LearningGroup, LearningRecord } from "#protocol/learning.ts";
import { isSameSlot, type Node, type PowerState } from "#protocol/node.ts";
import { nameOf, refsOf } from "./groups.ts";
import { isAwake } from "./ledger.ts";
import type { Outlets } from "./outlets.ts";

/** The record with the state of every outlet; what it says itself, else what its nodes' records say. */
export async function withStates(
  record: LearningRecord,
  outlets: Outlets,
  nodes: readonly Node[],
): Promise<LearningRecord> {
  const groups = await Promise.all(
    record.groups.map(async (group) => {
      const state = await outlets.query(group);
      return { ...group, before: state === "unknown" ? believed(group, record, nodes) : state };
    }),
  );
  return { ...record, groups };
}

function believed(
  group: LearningGroup,
  { rack }: LearningRecord,
  nodes: readonly Node[],
): PowerState {
  const refs = refsOf(rack, group);
  const states = nodes
    .filter(({ slot }) => slot && refs.some((ref) => isSameSlot(ref, slot)))
    .map(({ power }) => power);
  if (states.includes("on")) return "on";
  return states.length > 0 && states.every((state) => state === "off") ? "off" : "unknown";
}

/**
 * Nothing stays dark that was on, nor on that was off and has no board.
 *
 * @param isLit - whether a group is known to be on
 * @returns what was switched and what could not be, for people
 */
export async function restorePower(
  record: LearningRecord,
  end: "done" | "failed" | "cancelled",
  outlets: Outlets,
  isLit: (index: number) => boolean,
): Promise<string> {
  const on: string[] = [];
  const off: string[] = [];
  const failed: string[] = [];
  await Promise.all(
    record.groups.map(async (group, index) => {
      if (isAwake(group) && isLit(index)) return;
      const hasBoards = isAwake(group) || (end === "done" && group.heard.length > 0);
      const state = hasBoards || group.before !== "off" ? "on" : "off";
      const fault = await outlets.set(group, state);
      const name = nameOf(group);
      if (fault) failed.push(`${name} (${fault.text})`);
      else (state === "on" ? on : off).push(name);
    }),
  );
  return [
    ...(on.length > 0 ? [`switched on again: ${on.join(" ")}`] : []),
    ...(off.length > 0 ? [`off as before: ${off.join(" ")}`] : []),
    ...(failed.length > 0 ? [`could not be switched: ${failed.join(", ")}`] : []),
  ].join("; ");
}
