/** Every way in which a task can fail is told with what to do about it. */

import { globSync, readFileSync } from "node:fs";
import test from "ava";
import { remedyOf } from "#protocol/remedy.ts";

const told = (reason: string) => remedyOf({ state: "failed", reason }) ?? "";
const usual = told("of a kind nobody has seen");

/** Files that write reasons, and how a reason begins there. */
const writers: readonly (readonly [files: string, begin: RegExp])[] = [
  ["server/job/**/*.ts", /new AttemptError\(\s*(?:[a-z]+ \? )?/g],
  ["server/job/kinds/*.ts", /return (?=[`"][^`"]* )/g],
  ["server/protocol/disk.ts", /return (?=[`"][^`"]* )/g],
  ["server/power/**/*.ts", /new Power(?:Unreachable|Refused|Stuck)Error\(\s*/g],
  ["server/ssh/*.ts", /new (?:Forbidden|Unavailable)Error\(\s*/g],
  [
    "netinst/**/*.ts",
    /new (?:InstallRefused|ImageMismatch|Disk|Network|Tool|Untrusted)Error\(\s*/g,
  ],
  ["netinst/disk.ts", /diskError\(/g],
];

/** The texts written there, a number for each value. */
function reasonsIn(file: string, begin: RegExp): readonly string[] {
  const source = readFileSync(file, "utf8");
  return [...source.matchAll(begin)].flatMap(({ 0: before, index }) => {
    const rest = source.slice(index + before.length);
    const text = /^(?:`(?<template>[^`]*)`|"(?<plain>[^"]*)")/.exec(rest)?.groups;
    const reason = (text?.["template"] ?? text?.["plain"])?.replace(/\$\{[^}]*\}+/g, "7");
    return reason?.includes(" ") && /[a-z]{3}/.test(reason) ? [reason] : [];
  });
}

/** Nothing but values: what to do is up to what these say. */
const onlyValues = /^[7\s:,();.-]*$/;

for (const [files, begin] of writers) {
  test(`what to do is known for every reason in ${files} (${begin.source.slice(0, 30)})`, (t) => {
    const reasons = globSync(files).flatMap((file) => reasonsIn(file, begin));
    t.true(reasons.length > 0);
    const unknown = reasons.filter((one) => !onlyValues.test(one) && told(one) === usual);
    t.deepEqual(unknown, []);
  });
}

const table = [
  ["lab-a-1 is held back: serial number changed", /node approve/],
  ["netinst did not call within 600 s", /node why/],
  ["the node restarted while writing", /power supply/],
  ["no sign of life for 180 s while writing", /burn-in/],
  ["the disk returns other bytes than were written: sha-256 12 instead of 34", /disk fails/],
  ["disk sda is too small: it has 5 bytes, the image needs 9", /larger disk/],
  ["disk sda (S1) holds a GPT, which was not installed from here", /--wipe any/],
  ["more than one fixed disk, name one: sda (5 bytes), sdb (5 bytes)", /--disk/],
  ["image db is for arm64, this machine is amd64", /image list/],
  ["outlet of slot lab/a/1 did not answer in 30 s", /--outlets/],
  ["its outlet feeds nodes that run and are not in this job", /neighbours/],
  ["exit status 1: no such file", /job log/],
  ["the journal cannot be written: database or disk is full", /make room/],
] as const;
for (const [reason, remedy] of table) {
  test(`what to do when ${reason}`, (t) => t.regex(told(reason), remedy));
}

test("a task that has not failed needs no remedy; a reason nobody knows gets the usual one", (t) => {
  t.is(remedyOf({ state: "cancelled", reason: "cancelled by ada" }), undefined);
  t.is(remedyOf({ state: "done" }), undefined);
  t.regex(remedyOf({ state: "failed" }) ?? "", /job log TASK/);
});
