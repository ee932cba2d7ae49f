/**
 * Network namespaces for tests against real programs: made with names of their
 * own, removed with everything in them when the test ends, also when it fails.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import type { ExecutionContext } from "ava";

export interface Namespace {
  readonly name: string;
  /** Runs a program inside and gives its standard output. @throws when it fails. */
  run(command: string, ...args: readonly string[]): string;
  /** Starts a program inside; it is ended with the test. */
  start(command: string, ...args: readonly string[]): ChildProcess;
}

export function ip(...args: readonly string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** @param prefix - a letter and the process id, so that runs do not meet */
export function namespace(t: ExecutionContext, prefix: string): Namespace {
  const name = `${prefix}-${process.pid}`;
  ip("netns", "add", name);
  const children: ChildProcess[] = [];
  t.teardown(async () => {
    await Promise.all(children.map(end));
    ip("netns", "delete", name);
  });
  ip("-n", name, "link", "set", "lo", "up");
  return {
    name,
    run: (command, ...args) =>
      execFileSync("ip", ["netns", "exec", name, command, ...args], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      }),
    start: (command, ...args) => {
      const child = spawn("ip", ["netns", "exec", name, command, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      children.push(child);
      return child;
    },
  };
}

/** A cable: one interface in each namespace, both up. `ip netns exec` keeps the process id, so it can be signalled. */
export function cable(
  a: { readonly in: Namespace; readonly name: string; readonly address?: string },
  b: { readonly in: Namespace; readonly name: string; readonly mac: string },
): void {
  ip(
    ...["-n", a.in.name, "link", "add", a.name, "type", "veth"],
    ...["peer", "name", b.name, "address", b.mac, "netns", b.in.name],
  );
  if (a.address) ip("-n", a.in.name, "address", "add", a.address, "dev", a.name);
  ip("-n", a.in.name, "link", "set", a.name, "up");
  ip("-n", b.in.name, "link", "set", b.name, "up");
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
    child.once("exit", () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill("SIGTERM");
  });
}
