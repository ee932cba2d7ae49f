/** A finding as two lines of text: what it is, and what to do. */

import type { Finding } from "#protocol/timeline.ts";
import { clean } from "../output.ts";

const marks: Readonly<Record<Finding["severity"], string>> = {
  problem: "PROBLEM",
  hint: "hint",
  ok: "ok",
};
const indent = 9;

export function findingText({ severity, text, remedy }: Finding): string {
  const first = `${marks[severity].padEnd(indent - 1)} ${clean(text)}`;
  if (remedy === undefined || severity === "ok") return first;
  return `${first}\n${" ".repeat(indent)}-> ${clean(remedy)}`;
}
