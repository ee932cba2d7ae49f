import { readFileSync } from "node:fs";
import test from "ava";
import { readOption } from "../../server/dhcp/codec/options.ts";
import { type DhcpPacket, decodePacket } from "../../server/dhcp/codec/packet.ts";
import { filesOf } from "../../server/sim/firmware/ipxe.ts";
import { hex } from "../support/vectors.ts";
import { bytes, run, serverOf } from "./fake-network.ts";

interface Captured {
  readonly client: string;
  readonly type: string;
  readonly hex: string;
}
const captures = JSON.parse(
  readFileSync(new URL("../captures/dhcp-client-messages.json", import.meta.url), "utf8"),
) as readonly Captured[];

function captured(client: string, type: string): DhcpPacket {
  const found = captures.find((one) => one.client === client && one.type === type);
  if (!found) throw new RangeError(`${client} ${type}`);
  return decodePacket(Uint8Array.fromHex(found.hex));
}

/** All but what differs from machine to machine: UUID, client id, addresses in a REQUEST. */
function words({ flags, secs, options }: DhcpPacket) {
  const own = [97, 61, 50, 54];
  return {
    flags,
    secs,
    options: [...options].filter(([code]) => !own.includes(code)).map(([c, v]) => [c, v.toHex()]),
    codes: [...options.keys()].sort((a, b) => a - b),
  };
}

const file = new Uint8Array(20_000).fill(9);
file.set(bytes("MZ"));
const files = {
  "boot.efi": file,
  "boot.kpxe": new Uint8Array(4000),
  "boot.ipxe": bytes("#!ipxe\n"),
};

const fidelity = [
  ["edk2", "ovmf-x64-pxe", "boot.efi"],
  ["edk2-arm64", "aavmf-arm64-pxe", "boot.efi"],
  ["ipxe", "ipxe-rom-2019-bios", "boot.ipxe"],
] as const;
for (const [name, client, bootFile] of fidelity) {
  test(`${name} says what ${client} was captured saying`, async (t) => {
    const dhcp = serverOf({ file: bootFile, options: [[175, Uint8Array.of(0xb0, 1, 1)]] });
    const { discovers, requests, result } = await run(name, { dhcp, files });
    t.is(result.booted, 1);
    const [discover] = discovers;
    const [request] = requests;
    if (!discover?.dhcp || !request?.dhcp) return t.fail("no exchange");
    t.deepEqual(words(discover.dhcp), words(captured(client, "DISCOVER")));
    const { secs: _, ...said } = words(request.dhcp);
    const { secs: __, ...was } = words(captured(client, "REQUEST"));
    t.deepEqual(new Set(said.options.map(String)), new Set(was.options.map(String)));
    t.deepEqual(said.codes, was.codes);
  });
}

test("EDK2 waits out its timer of 4 s, asks the size and breaks off with ERROR 8, then takes windows of 4", async (t) => {
  const { network, requests } = await run("edk2", { dhcp: serverOf({ file: "boot.efi" }), files });
  t.is(Math.round(requests[0]?.atMs ?? 0), 4000);
  const reads = network.heard.flatMap(({ tftp }) => (tftp?.kind === "read" ? [tftp.options] : []));
  t.deepEqual(reads, [
    [
      ["tsize", "0"],
      ["blksize", "1468"],
      ["windowsize", "4"],
    ],
    [
      ["blksize", "1468"],
      ["windowsize", "4"],
    ],
  ]);
  const errors = network.heard.flatMap(({ tftp }) => (tftp?.kind === "error" ? [tftp] : []));
  t.deepEqual(errors, [{ kind: "error", code: 8, message: "User aborted the transfer" }]);
  const acks = network.heard.flatMap(({ tftp }) => (tftp?.kind === "ack" ? [tftp.block] : []));
  t.deepEqual(acks, [0, 4, 8, 12, 14]); // 20000 octets in 14 blocks
});

test("EDK2 ignores an OFFER without a boot file: DISCOVERs with secs 0, 4, 12, 28, then it gives up", async (t) => {
  const { discovers, result } = await run("edk2", { dhcp: serverOf({}) });
  t.deepEqual(
    discovers.map(({ dhcp }) => dhcp?.secs),
    [0, 4, 12, 28],
  );
  t.regex(JSON.stringify(result.boards[0]?.ending), /PXE-E16/);
});

const vendor = [60, bytes("PXEClient")] as const;
// PXE 2.1 table 2-1: discovery control 3, one server of type 0x8001, a menu of one entry.
const menu = [
  43,
  hex("060103 0807 8001 01 0a4d0001 0907 8001 04 426f6f74 0a0400505845 ff"),
] as const;
const proxies = [
  ["that names the file at once", { file: "boot.efi", options: [vendor] }, undefined],
  ["that names it on port 4011", { options: [vendor] }, undefined],
  ["with a menu: its first entry is asked for", { options: [vendor, menu] }, "470480010000ff"],
] as const;
for (const [title, words, chosen] of proxies) {
  for (const name of ["edk2", "bios"]) {
    test(`${name} boots by a proxy ${title}`, async (t) => {
      let asked = 0;
      let picked: string | undefined;
      const { result } = await run(name, {
        files,
        dhcp: (packet, port) => {
          asked += 1;
          if (port === 4011) {
            picked = packet.options.get(43)?.toHex();
            return { type: "ack", file: "boot.efi", options: [vendor] };
          }
          return asked === 1 ? { type: "offer", broadcast: true, ...words } : serverOf({})(packet);
        },
      });
      t.like(result.boards[0]?.ending, { outcome: "booted" });
      t.is(picked, chosen);
    });
  }
}

const losses = [
  ["the first of a window", 2, [0, 0, 0, 0, 4, 8, 12, 14]],
  ["the second of a window: each later one is answered", 3, [0, 1, 1, 5, 9, 13, 14]],
] as const;
for (const [title, lost, acks] of losses) {
  test(`EDK2 loses ${title}, and the file is whole`, async (t) => {
    const dhcp = serverOf({ file: "boot.efi" });
    const loses = (index: number) => index === lost;
    const { result, network } = await run("edk2", { dhcp, files, loses });
    t.is(result.boards[0]?.files[0]?.bytes, file.length);
    const heard = network.heard.flatMap(({ tftp }) => (tftp?.kind === "ack" ? [tftp.block] : []));
    t.deepEqual(heard.slice(0, 3), acks.slice(0, 3));
    t.is(heard.at(-1), 14);
  });
}

test("a file that is no EFI program is downloaded and not started", async (t) => {
  const { result } = await run("edk2", { dhcp: serverOf({ file: "boot.kpxe" }), files });
  t.regex(JSON.stringify(result.boards[0]?.ending), /no EFI program/);
});

test("iPXE sends a second DISCOVER while it waits for a proxy, unless 175.176 says there is none", async (t) => {
  const slow = await run("ipxe", { dhcp: serverOf({ file: "boot.ipxe" }), files });
  t.is(slow.discovers.length, 2);
  t.deepEqual(
    slow.discovers.map(({ dhcp }) => dhcp?.secs),
    [4, 10],
  );
  t.is(Math.round((slow.requests[0]?.atMs ?? 0) / 10), 346);
  const options = [[175, Uint8Array.of(0xb0, 1, 1)]] as const;
  const quick = await run("ipxe", { dhcp: serverOf({ file: "boot.ipxe", options }), files });
  t.is(quick.discovers.length, 1);
  t.true((quick.requests[0]?.atMs ?? 0) < 100);
  const userClass =
    quick.discovers[0]?.dhcp && readOption(quick.discovers[0].dhcp.options, "userClass");
  t.is(String.fromCharCode(...(userClass ?? [])), "iPXE");
});

test("a BIOS ROM asks for the size alone, then for blocks of 1456 octets", async (t) => {
  const { network, result, discovers } = await run("bios", {
    dhcp: serverOf({ file: "boot.kpxe" }),
    files,
  });
  t.is(result.booted, 1);
  t.is(discovers[0]?.dhcp?.flags, 0x8000);
  const reads = network.heard.flatMap(({ tftp }) => (tftp?.kind === "read" ? [tftp.options] : []));
  t.deepEqual(reads, [[["tsize", "0"]], [["blksize", "1456"]]]);
});

test("a missing boot file is named in the verdict", async (t) => {
  const { result } = await run("bios", { dhcp: serverOf({ file: "absent" }), files });
  t.deepEqual(result.boards[0]?.ending, { outcome: "failed", reason: "no absent (PXE-T01)" });
});

test("an iPXE script's kernel and initrd lines are fetched, not those with settings", (t) => {
  const script = [
    "#!ipxe",
    "kernel --name kernel http://10.77.0.1:8080/k initrd=initrd a=b || goto failed",
    "initrd --name initrd http://10.77.0.1:8080/i",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: iPXE's own
    "initrd ${base}/more",
    "chain http://10.77.0.1/next",
  ];
  t.deepEqual(filesOf(script.join("\n")), ["http://10.77.0.1:8080/k", "http://10.77.0.1:8080/i"]);
});
