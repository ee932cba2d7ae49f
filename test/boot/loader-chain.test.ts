import test from "ava";
import { parseMacAddress } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import { createLoaderChains } from "../../server/boot/loader-chain.ts";
import { client, type Laboratory, laboratory, node, pc, pi4, server } from "./setup.ts";

const fileOffered = ({ boot }: Laboratory, firmware: FirmwareName = "uefi-pxe-x64", ipxe = false) =>
  boot.reply(client(pc, { firmware, ipxe }), server)?.bootFile;

test("a firmware that fetched iPXE and asks again gets shim", (t) => {
  const lab = laboratory(t);
  t.is(fileOffered(lab), "ipxe-x64.efi", "its DISCOVER");
  t.is(fileOffered(lab), "ipxe-x64.efi", "its REQUEST");
  t.truthy(lab.tftp("ipxe-x64.efi", pc));
  t.is(fileOffered(lab), "shimx64.efi");
  t.is(fileOffered(lab), "shimx64.efi", "its REQUEST gets what the OFFER said");
});

test("the next boot entry, HTTP, gets shim too", (t) => {
  const lab = laboratory(t);
  lab.tftp("ipxe-x64.efi", pc);
  t.is(fileOffered(lab, "uefi-http-x64"), "http://10.77.0.1:8080/boot/loaders/shimx64.efi");
});

test("an arm64 firmware gets shim for arm64", (t) => {
  const lab = laboratory(t);
  lab.http("boot/loaders/ipxe-arm64.efi", pc);
  t.is(fileOffered(lab, "uefi-pxe-arm64"), "shimaa64.efi");
});

test("where iPXE calls, iPXE stays", (t) => {
  const lab = laboratory(t);
  lab.tftp("ipxe-x64.efi", pc);
  fileOffered(lab, "ipxe-x64", true);
  t.is(fileOffered(lab), "ipxe-x64.efi");
});

test("where GRUB calls, the signed chain stays", (t) => {
  const lab = laboratory(t);
  lab.tftp("ipxe-x64.efi", pc);
  fileOffered(lab);
  lab.tftp("shimx64.efi", pc);
  lab.tftp("/grub/grub.cfg", pc);
  t.is(fileOffered(lab), "shimx64.efi");
});

test("a firmware that refuses shim as well gets iPXE again", (t) => {
  const lab = laboratory(t);
  lab.tftp("ipxe-x64.efi", pc);
  fileOffered(lab);
  lab.tftp("shimx64.efi", pc);
  t.is(fileOffered(lab), "ipxe-x64.efi");
});

test("another node's fetch changes nothing", (t) => {
  const lab = laboratory(t);
  lab.tftp("ipxe-x64.efi", pi4);
  t.is(fileOffered(lab), "ipxe-x64.efi");
});

test("secureBoot: always offers shim at once, and iPXE where there is no shim", async (t) => {
  const { rmSync } = await import("node:fs");
  const lab = laboratory(t, { secureBoot: "always" });
  t.is(fileOffered(lab), "shimx64.efi");
  t.is(fileOffered(lab, "ipxe-x64", true)?.endsWith("/boot.ipxe"), true);
  t.is(fileOffered(lab, "bios-pxe"), "undionly.kpxe");
  rmSync(`${lab.directory}/loaders/grubx64.efi`);
  t.is(fileOffered(lab), "ipxe-x64.efi");
});

test("secureBoot: never offers iPXE always", (t) => {
  const lab = laboratory(t, { secureBoot: "never" });
  lab.tftp("ipxe-x64.efi", pc);
  t.is(fileOffered(lab), "ipxe-x64.efi");
});

test("a node that shall boot its own disk does not find the signed chain, so its firmware goes on", (t) => {
  const lab = laboratory(t, { secureBoot: "always" });
  lab.nodes.set(pc, node(pc, { state: "installed" }));
  t.is(fileOffered(lab), "shimx64.efi");
  t.is(lab.tftp("shimx64.efi", pc), undefined);
  t.is(lab.tftp("grubx64.efi", pc), undefined);
  t.is(lab.http("boot/loaders/shimx64.efi", pc), undefined);
  t.is(lab.tftp("shimx64.efi", pi4), "shimx64.efi");
  t.is(lab.tftp("ipxe-x64.efi", pc), "ipxe-x64.efi", "iPXE is told by its script");
});

test("shim by HTTP asks for GRUB with two slashes", (t) => {
  t.is(laboratory(t).http("boot/loaders//grubx64.efi", pc), "grubx64.efi");
});

test("what was not found was not refused", (t) => {
  const lab = laboratory(t);
  lab.tftp("ipxe-x64.efi", pc);
  fileOffered(lab);
  lab.nodes.set(pc, node(pc, { state: "installed" }));
  lab.tftp("shimx64.efi", pc);
  t.is(fileOffered(lab), "shimx64.efi");
});

test("4096 nodes are remembered, the oldest is forgotten first", (t) => {
  const chains = createLoaderChains();
  const mac = (number: number) =>
    parseMacAddress(
      `02:00:00:00:${(number >> 8).toString(16).padStart(2, "0")}:${(number & 255).toString(16).padStart(2, "0")}`,
    );
  for (let at = 0; at <= 4096; at += 1) chains.fetched(mac(at), "ipxe");
  t.false(chains.offer(mac(0)).changed);
  t.true(chains.offer(mac(1)).changed);
});
