import test from "ava";
import { readOption } from "../../server/dhcp/codec/options.ts";
import { parseMachine } from "../../server/dhcp/codec/pxe.ts";
import { readFirmwareConfig } from "../../server/sim/firmware/raspberry-pi.ts";
import { bytes, piBoot, type Ran, run, serverOf } from "./fake-network.ts";

const tree = {
  "bootcode.bin": new Uint8Array(1300).fill(1),
  "start.elf": new Uint8Array(5000).fill(2),
  "start4.elf": new Uint8Array(5000).fill(4),
  "fixup.dat": new Uint8Array(700).fill(3),
  "config.txt": bytes("kernel=linux\ninitramfs initrd.img followkernel\n"),
  "cmdline.txt": bytes("quiet\n"),
  "bcm2710-rpi-3-b.dtb": new Uint8Array(1024).fill(5), // ends with an empty block
  "bcm2711-rpi-4-b.dtb": new Uint8Array(1024).fill(5),
  "bcm2712-rpi-5-b.dtb": new Uint8Array(1024).fill(5),
  "initrd.img": new Uint8Array(3000).fill(6),
  linux: new Uint8Array(9000).fill(7),
};
const pi = serverOf({ options: [piBoot] });

const requestsFor = ({ network }: Ran, name: string) =>
  network.heard.flatMap(({ tftp }) =>
    tftp?.kind === "read" && tftp.name.endsWith(name) ? [tftp] : [],
  );

test("a Pi 3 boots: one xid, no REQUEST, no flags, TTL 128, no UDP checksum", async (t) => {
  const ran = await run("pi3", { dhcp: pi, files: tree }, { count: 2 });
  t.is(ran.result.booted, 2);
  t.is(ran.requests.length, 0);
  for (const { dhcp, frame } of ran.discovers) {
    t.is(dhcp?.xid, 0x26f30339);
    t.is(dhcp?.flags, 0);
    t.is(frame[22], 128);
    t.deepEqual([...frame.subarray(40, 42)], [0, 0]);
    const machine = dhcp && readOption(dhcp.options, "clientMachine");
    t.deepEqual(machine && parseMachine(machine, true), { kind: "raspberry-pi-rom" });
  }
});

test("a Pi 3's ROM fetches without options, bootcode.bin with a probe it breaks off, some files twice", async (t) => {
  const ran = await run("pi3", { dhcp: pi, files: tree });
  t.deepEqual(requestsFor(ran, "bootcode.bin")[0]?.options, []);
  t.is(requestsFor(ran, "bootsig.bin").length, 1, "not found is not asked for again");
  t.is(requestsFor(ran, "5a0001/start.elf").length, 1);
  const later = requestsFor(ran, "fixup.dat");
  t.deepEqual(
    later.map(({ options }) => options),
    Array(2).fill([
      ["tsize", "0"],
      ["blksize", "1024"],
    ]),
  );
  const start = ran.network.heard.filter(
    ({ tftp }) => tftp?.kind === "read" && tftp.name === "start.elf",
  );
  const [, first, second] = start;
  t.not(first?.ip?.sourcePort, second?.ip?.sourcePort);
  t.true(ran.network.heard.some(({ tftp }) => tftp?.kind === "error" && tftp.code === 0));
});

test("a Pi 3 opens start.elf twice within milliseconds, unless told to open it once", async (t) => {
  const twice = await run("pi3", { dhcp: pi, files: tree });
  const once = await run("pi3", { dhcp: pi, files: tree }, { opensOnce: true });
  const [, first, second] = twice.network.heard.filter(
    ({ tftp }) => tftp?.kind === "read" && tftp.name === "start.elf",
  );
  t.true((second?.atMs ?? 0) - (first?.atMs ?? 0) < 10);
  t.is(requestsFor(twice, "start.elf").length - requestsFor(once, "start.elf").length, 1);
});

test("without an answer a Pi 3 asks five times, 5 s apart, and is dead", async (t) => {
  const { discovers, result } = await run("pi3", { dhcp: () => undefined });
  t.deepEqual(
    discovers.map(({ atMs }) => Math.round(atMs / 1000)),
    [0, 5, 10, 15, 20],
  );
  t.like(result.boards[0], { ending: { outcome: "silence" }, discovers: 5 });
  t.is(Math.round((result.boards[0]?.tookMs ?? 0) / 1000), 25);
});

const refusals = [
  ["option 43 without the words", serverOf({ options: [[43, bytes("PXE")]] }), /option 43/],
  ["no address", () => ({ type: "offer", options: [piBoot] }) as const, /no address/],
  ["a relayed answer", serverOf({ options: [piBoot], hops: 1 }), /no usable/],
] as const;
for (const [title, dhcp, reason] of refusals) {
  test(`a Pi 3 does not boot by ${title}`, async (t) => {
    const { result } = await run("pi3", { dhcp, files: tree });
    const { ending } = result.boards[0] ?? {};
    t.is(ending?.outcome, "silence");
    t.regex(ending?.outcome === "booted" ? "" : String(ending?.reason), reason);
  });
}

test("address and boot service may come from two servers", async (t) => {
  let asked = 0;
  const { result } = await run("pi3", {
    files: tree,
    dhcp: (packet) => {
      asked += 1;
      return asked === 1 ? { type: "offer", options: [piBoot] } : serverOf({})(packet);
    },
  });
  t.like(result.boards[0], { ending: { outcome: "booted" }, discovers: 2 });
});

test("an OFFER that is broadcast is taken by a neighbour too: both fail", async (t) => {
  const dhcp = serverOf({ options: [piBoot], broadcast: true });
  const { result } = await run("pi3", { dhcp, files: tree }, { count: 2 });
  t.is(result.booted, 0);
  t.regex(JSON.stringify(result.boards[0]?.ending), /2 boards have the address/);
});

test("a Pi 4 sends a REQUEST without option 60, and its serial in both orders of octets", async (t) => {
  const { result, discovers, requests } = await run("pi4", { dhcp: pi, files: tree }, { count: 2 });
  t.is(result.booted, 2);
  t.true(discovers.every(({ dhcp }) => dhcp?.options.has(60)));
  t.true(requests.every(({ dhcp }) => dhcp && !dhcp.options.has(60) && dhcp.options.has(97)));
  const serials = discovers.map(({ dhcp }) => {
    const value = dhcp && readOption(dhcp.options, "clientMachine");
    return value && parseMachine(value, true);
  });
  t.deepEqual(serials, [
    { kind: "raspberry-pi", model: "4", serial: "100000ab" },
    { kind: "raspberry-pi", model: "4", serial: "100001ac" },
  ]);
  t.not(discovers[0]?.dhcp?.xid, discovers[1]?.dhcp?.xid);
});

test("a Pi 4 asks for its serial's directory first, then for the root; blocks of 1024, a Pi 5's of 1468", async (t) => {
  const four = await run("pi4", { dhcp: pi, files: tree });
  t.deepEqual(
    requestsFor(four, "start4.elf").map(({ name }) => name),
    ["100000ab/start4.elf", "start4.elf"],
  );
  t.deepEqual(requestsFor(four, "linux")[0]?.options[1], ["blksize", "1024"]);
  const five = await run("pi5", { dhcp: pi, files: tree });
  t.is(five.result.booted, 1);
  t.deepEqual(requestsFor(five, "linux")[0]?.options[1], ["blksize", "1468"]);
  t.is(requestsFor(five, "start.elf").length, 0);
});

test("a server that falls silent in a file: a Pi 4 tries once more, a Pi 5 hangs after 30 s", async (t) => {
  const loses = (index: number) => index > 20;
  const four = await run("pi4", { dhcp: pi, files: tree, loses });
  t.true(
    four.result.boards[0]?.steps.some(
      ({ kind, text }) => kind === "retry" && /once more/.test(text),
    ),
  );
  const five = await run("pi5", { dhcp: pi, files: tree, loses });
  const { ending, tookMs = 0 } = five.result.boards[0] ?? {};
  t.regex(JSON.stringify(ending), /it hangs there/);
  t.is(Math.round(tookMs / 1000), 30);
});

test("a lost block is asked for again, and the file has the right checksum", async (t) => {
  const whole = await run("pi3", { dhcp: pi, files: tree });
  const lossy = await run("pi3", { dhcp: pi, files: tree, loses: (index) => index % 13 === 5 });
  const sums = ({ result }: Ran) => result.boards[0]?.files.map(({ name, crc32 }) => [name, crc32]);
  t.is(lossy.result.booted, 1);
  t.true((lossy.result.boards[0]?.repeated ?? 0) > 0);
  t.deepEqual(sums(lossy), sums(whole));
});

test("a file of more than 65535 blocks is more than a Raspberry Pi can fetch", async (t) => {
  const files = { ...tree, "bootcode.bin": new Uint8Array(65_536 * 512) };
  const { result } = await run("pi3", { dhcp: pi, files });
  t.regex(JSON.stringify(result.boards[0]?.ending), /longer than 65535 blocks/);
});

test("config.txt: kernel, initramfs, sections", (t) => {
  const text =
    "kernel=other.img # one\n[pi4]\nkernel=pi4.img\n[all]\ninitramfs initrd.img followkernel\n";
  t.deepEqual(readFirmwareConfig(text, ["all", "pi3"]), {
    prefix: "",
    kernel: "other.img",
    initramfs: "initrd.img",
    commandLine: "cmdline.txt",
  });
  t.is(readFirmwareConfig(text, ["all", "pi4"]).kernel, "pi4.img");
});

test("boards are powered on one after the other", async (t) => {
  const settings = { count: 3, staggerMs: 500 };
  const { discovers } = await run("pi3", { dhcp: pi, files: tree }, settings);
  t.deepEqual(
    discovers.map(({ atMs }) => Math.round(atMs / 100) * 100),
    [0, 500, 1000],
  );
});
