/** OVMF with Secure Boot on and Microsoft's keys enrolled; shim, GRUB and kernel as Debian signed them. */

import test, { type ExecutionContext } from "ava";
import { oneReadyNode } from "./laboratory.ts";

const minute = 60_000;
const securely = [
  /EFI stub: UEFI Secure Boot is enabled/,
  /Kernel is locked down from EFI Secure Boot/,
  /secureboot: Secure boot enabled/,
];

test("a machine that refuses iPXE gets the signed chain as its next boot entry, and netinst runs", async (t) => {
  t.timeout(20 * minute);
  const { lines } = await oneReadyNode(t, "uefi-x64-secure", "none");
  const story = [
    /NBP filename is ipxe-x64\.efi/,
    /BdsDxe: failed to load Boot\d+ "UEFI PXEv4/,
    /URI: http:\/\/10\.77\.0\.1:8080\/boot\/loaders\/shimx64\.efi/,
    /marcoboot: 52:54:00:77:0a:03 boots netinst \(amd64\), signed/,
    ...securely,
    /marcoboot: enrolled as/,
  ];
  told(t, story, lines);
});

test("secureBoot: always, the signed chain by TFTP from the first packet on", async (t) => {
  t.timeout(20 * minute);
  const { lines } = await oneReadyNode(t, "uefi-x64-secure", "none", {
    subnet: { secureBoot: "always" },
  });
  const story = [
    /NBP filename is shimx64\.efi/,
    /Fetching Netboot Image grubx64\.efi/,
    /marcoboot: 52:54:00:77:0a:03 boots netinst \(amd64\), signed/,
    ...securely,
    /marcoboot: enrolled as/,
  ];
  told(t, story, lines);
  t.false(
    lines.some((line) => /ipxe/i.test(line)),
    "iPXE was never offered",
  );
});

/** Each pattern has its line; if not, what the kernel said first is shown. */
function told(t: ExecutionContext, story: readonly RegExp[], lines: readonly string[]): void {
  const missing = story.filter((one) => !lines.some((line) => one.test(line))).map(String);
  const begin = lines.findIndex((line) => /EFI stub/.test(line));
  if (missing.length > 0) t.log(lines.slice(begin, begin + 40).join("\n"));
  t.deepEqual(missing, []);
}
