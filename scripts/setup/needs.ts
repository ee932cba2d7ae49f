/** Which Debian packages a purpose needs on the machine itself. */

import type { Architecture } from "#protocol/firmware.ts";

/** `serve`: a real rack. `demo` adds the virtual rack, `test` its peers and a browser. */
export const purposes = ["serve", "demo", "test", "all"] as const;
export type Purpose = (typeof purposes)[number];

/** The server's queue, and what netinst is built with. */
const server = [
  ...["redis-server", "iproute2", "kmod", "squashfs-tools", "zstd", "xz-utils"],
  ...["binutils", "binutils-aarch64-linux-gnu"],
];
/** The Debian image, and QEMU with its firmware. */
const rack = [
  ...["mmdebstrap", "e2fsprogs", "fdisk", "mtools", "dosfstools", "openssh-client"],
  ...["qemu-system-x86", "qemu-utils", "ovmf", "ipxe-qemu"],
];
const rackArm64 = ["qemu-system-arm", "qemu-efi-aarch64"];
/** Independent DHCP and TFTP clients, servers and relay agents, an SNMP agent, a BMC, an SSH server, a browser of services, a speaker of LLDP, packet tools, capabilities of files, and one for the page. */
const peers = [
  ...["busybox-static", "udhcpc", "isc-dhcp-client", "dnsmasq-base", "kea-admin"],
  ...["tftp-hpa", "atftp", "ethtool", "nftables", "tcpdump", "chromium"],
  ...["snmpd", "snmp", "ipmitool", "openipmi", "openssh-server", "openssl", "strace"],
  ...["avahi-daemon", "avahi-utils", "dbus-daemon", "lldpd", "libcap2-bin"],
];

/** The servers `npm run bench` compares ours with, and what measures them. */
export const benchPackages = [
  ...["redis-server", "iproute2", "nftables", "kea-dhcp4-server", "kea-admin", "dnsmasq-base"],
  ...["tftpd-hpa", "nginx-light"],
];

export function packagesFor(
  purpose: Purpose,
  architectures: readonly Architecture[],
): readonly string[] {
  const needsRack = purpose !== "serve";
  return [
    ...server,
    ...(needsRack ? rack : []),
    ...(needsRack && architectures.includes("arm64") ? rackArm64 : []),
    ...(purpose === "test" || purpose === "all" ? peers : []),
  ];
}
