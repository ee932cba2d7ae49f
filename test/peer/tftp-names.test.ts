/**
 * B16, B17: no name from the wire reaches the file system. The server's process is watched by
 * strace: serving what is known, refusing what is not, and refusing to write open no file at all.
 */

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test from "ava";
import { cable, ip, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const child = new URL("./boot-files-child.ts", import.meta.url).pathname;
const asker = new URL("./tftp-names-asker.ts", import.meta.url).pathname;
const serverAddress = "10.77.0.1";
const [read, write] = [1, 2];

const known = [
  ...["config.txt", "cmdline.txt", "start4.elf", "bcm2711-rpi-4-b.dtb", "kernel8.img"],
  ...["initrd.img", "overlays/disable-bt.dtbo", "3277ab02/config.txt", "/start4.elf"],
  ...["dc-a6-32-77-00-02/kernel8.img", "ipxe-x64.efi", "boot/netinst/arm64/initrd"],
];
const hostile = [
  ...["../secret.txt", "../../etc/passwd", "....//secret.txt", "..\\secret.txt", "/etc/passwd"],
  ...["overlays/../../secret.txt", "3277ab02/../../../secret.txt", "%2e%2e/secret.txt"],
  ...[
    "loaders/raspberry-pi/start4.elf",
    "raspberry-pi/start4.elf",
    "link.dtb",
    "overlays/link.dtbo",
  ],
  ...[".", "..", "/", "start4.elf/", "start4.elf/.", "./start4.elf", "\u0130\u00e9\u{1f4be}.elf"],
  ...["a".repeat(300), "start4.elf ", "START4.ELF", "con", "/proc/self/environ", "/dev/zero"],
  ...[
    "boot/netinst/arm64/../../../marcoboot.yaml",
    "boot/netinst//arm64//kernel/x",
    "12345678/config.txt",
  ],
];

test("B17: names that are known and names that are not: not one file is opened for them", async (t) => {
  const server = namespace(t, "tn");
  const client = namespace(t, "tm");
  cable(
    { in: server, name: "lan0", address: `${serverAddress}/24` },
    { in: client, name: "lan0", mac: "dc:a6:32:77:00:02" },
  );
  ip("-n", client.name, "address", "add", "10.77.0.2/24", "dev", "lan0");
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "secret.txt"), "secret");
  const log = join(directory, "strace.log");
  const files = join(directory, "files");
  mkdirSync(files);
  const traced = server.start(
    ...(["strace", "-D", "-f", "-o", log, "-e", "trace=open,openat,openat2,creat,execve"] as const),
    ...[process.execPath, child, "lan0", serverAddress, files],
  );
  if (!traced.stdout) throw new RangeError("no standard output");
  for await (const line of createInterface({ input: traced.stdout })) {
    if (line === "ready") break;
  }
  for (const name of ["link.dtb", "overlays/link.dtbo"]) {
    symlinkSync("/etc/hostname", join(files, "loaders", "raspberry-pi", name));
  }
  const opened = () => readFileSync(log, "utf8").split("\n").length;
  const ask = (opcode: number, names: readonly string[]) => {
    const questions = JSON.stringify(names.map((name) => ({ opcode, name })));
    return JSON.parse(client.run(process.execPath, asker, serverAddress, questions)) as unknown[];
  };

  t.true(opened() > 10, "strace saw the server start");
  t.deepEqual(
    ask(read, known),
    known.map(() => "data"),
  ); // read once, and kept
  const before = opened();
  const digest = readFileSync(join(files, "loaders", "raspberry-pi", "start4.elf"), "utf8");
  t.deepEqual(
    ask(read, known),
    known.map(() => "data"),
  );
  t.deepEqual(
    ask(read, hostile),
    hostile.map(() => 1),
  );
  t.deepEqual(ask(read, [""]), ["silence"]); // no request at all: RFC 1350 §5 has no empty name
  t.deepEqual(ask(write, ["start4.elf", "new.elf", "../new.elf"]), [2, 2, 2]);
  t.log(`${known.length * 2 + hostile.length + 4} requests, ${opened() - before} files opened`);
  t.is(opened(), before);
  t.is(readFileSync(join(files, "loaders", "raspberry-pi", "start4.elf"), "utf8"), digest);
});
