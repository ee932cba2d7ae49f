/**
 * Sockets in other network namespaces, for a process that plays many boards: the
 * thread visits a namespace (setns(2)) just long enough to open a socket there,
 * and the socket stays.
 */

import { closeSync, openSync } from "node:fs";

export type Visit = <Result>(namespace: string, work: () => Result) => Result;

const networkNamespace = 0x40000000; // CLONE_NEWNET

/**
 * The function runs `work`, which must not wait for anything, in the namespace `ip netns` knows by that name.
 *
 * @throws Error when the namespace cannot be entered; ends the process when the way back is shut
 */
export async function namespaceVisits(): Promise<Visit> {
  const { default: koffi } = await import("koffi");
  const setns = koffi.load(null).func("int setns(int, int)") as (
    fd: number,
    kind: number,
  ) => number;
  const enter = (path: string) => {
    const fd = openSync(path, "r");
    const result = setns(fd, networkNamespace);
    closeSync(fd);
    if (result !== 0) throw new Error(`setns ${path}: error ${koffi.errno()}`);
  };
  const home = openSync("/proc/self/ns/net", "r");
  return (namespace, work) => {
    enter(`/run/netns/${namespace}`);
    try {
      return work();
    } finally {
      if (setns(home, networkNamespace) !== 0) process.abort(); // everything after this would be elsewhere
    }
  };
}
