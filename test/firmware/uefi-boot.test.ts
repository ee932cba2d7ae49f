/**
 * UEFI firmware by itself: HTTP boot with PXE switched off (HEAD, GET, iPXE), and PXE on arm64;
 * each until netinst runs. PXE on x64 is in server-killed and proxy-firmware.
 */

import test from "ava";
import { oneReadyNode } from "./laboratory.ts";

const minute = 60_000;
const fromHttp = (loader: string) => `URI: http://10.77.0.1:8080/boot/loaders/${loader}`;
const startPxe = "Start PXE";

const rows = [
  ["OVMF (x64) boots by HTTP", "uefi-x64", "http", fromHttp("ipxe-x64.efi"), startPxe],
  ["AAVMF (arm64) boots by HTTP", "uefi-arm64", "http", fromHttp("ipxe-arm64.efi"), startPxe],
  ["AAVMF (arm64) boots by PXE", "uefi-arm64", "pxe", startPxe, "URI: http"],
] as const;
for (const [title, firmware, networkBoot, expected, other] of rows) {
  test(`${title} until its agent waits for work`, async (t) => {
    t.timeout(25 * minute);
    const { lines } = await oneReadyNode(t, firmware, "none", { networkBoot });
    const said = (text: string) => lines.some((line) => line.includes(text));
    t.true(said(expected));
    t.false(said(other), "nothing came the other way");
    t.true(said("marcoboot: enrolled as"));
  });
}
