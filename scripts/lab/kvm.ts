/**
 * Whether KVM really runs guests here. `/dev/kvm` may exist and be useless
 * (nested kinds where kernels hang after decompression), so the answer comes
 * from booting a kernel, never from the device's presence.
 */

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { tethered } from "./command.ts";

export type Accelerator = "kvm" | "tcg";

const probeMs = 10_000;
/** Said by a kernel that has started its drivers and then finds no root file system. */
const kernelIsUp = /Unable to mount root fs|No filesystem could mount root/;

/** @param kernel - an x86 bzImage; it is started without an initramfs and must reach its own panic within 10 s. */
export async function probeKvm(kernel: string): Promise<Accelerator> {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    accessSync(kernel, constants.R_OK);
  } catch {
    return "tcg"; // no device or nothing to boot: emulation always works
  }
  const [command, args] = tethered("qemu-system-x86_64", [
    ...["-accel", "kvm", "-cpu", "host", "-M", "pc", "-m", "256", "-nodefaults", "-no-reboot"],
    ...["-display", "none", "-serial", "stdio", "-kernel", kernel],
    ...["-append", "console=ttyS0 panic=-1"],
  ]);
  const guest = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
  return await new Promise((resolve) => {
    let text = "";
    const answer = (accelerator: Accelerator) => {
      clearTimeout(timer);
      guest.kill("SIGKILL");
      resolve(accelerator);
    };
    const timer = setTimeout(() => answer("tcg"), probeMs);
    guest.stdout.on("data", (chunk: Buffer) => {
      text = (text + chunk.toString("latin1")).slice(-4096);
      if (kernelIsUp.test(text)) answer("kvm");
    });
    guest.on("error", () => answer("tcg"));
    guest.on("exit", () => answer(kernelIsUp.test(text) ? "kvm" : "tcg"));
  });
}
