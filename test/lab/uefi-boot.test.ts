/** UEFI HTTP boot with PXE switched off in the firmware: HEAD, GET, iPXE, and netinst runs. */

import test from "ava";
import { oneReadyNode } from "./laboratory.ts";

const minute = 60_000;
const rows = [
  ["OVMF (x64)", "uefi-x64", "ipxe-x64.efi"],
  ["AAVMF (arm64)", "uefi-arm64", "ipxe-arm64.efi"],
] as const;
for (const [title, firmware, loader] of rows) {
  test(`${title} boots by HTTP until its agent waits for work`, async (t) => {
    t.timeout(25 * minute);
    const { lines } = await oneReadyNode(t, firmware, "none", { networkBoot: "http" });
    const said = (text: string) => lines.some((line) => line.includes(text));
    t.true(said(`URI: http://10.77.0.1:8080/boot/loaders/${loader}`));
    t.false(said("Start PXE"), "nothing came by TFTP");
    t.true(said("marcoboot: enrolled as"));
  });
}
