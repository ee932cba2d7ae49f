/**
 * What of a system is not copied to another node: who it is, and what is made anew at every boot.
 * Pure.
 */

/** Files and directories that make a node itself; `*` stands for any part of one name. */
export const identityPaths: readonly string[] = [
  "/etc/hostname",
  "/etc/machine-id",
  "/var/lib/dbus/machine-id",
  "/etc/ssh/ssh_host_*",
  // of the agent: its key and certificate, its program, and what starts it
  "/var/lib/marcoboot",
  "/etc/systemd/network/10-marcoboot.network",
  "/etc/systemd/system/marcoboot-agent.service",
  "/etc/systemd/system/var-lib-marcoboot-agent.mount",
  "/etc/systemd/system/marcoboot-trial.service",
  "/etc/systemd/system/*.wants/marcoboot-*.service",
  "/etc/systemd/system/*.wants/var-lib-marcoboot-agent.mount",
  "/etc/init.d/marcoboot-agent",
  "/etc/rc*.d/*marcoboot-agent",
  // secrets and names that system programs make once
  "/var/lib/systemd/random-seed",
  "/var/lib/systemd/credential.secret",
  "/var/lib/urandom/random-seed",
  "/etc/iscsi/initiatorname.iscsi",
  "/etc/nvme/hostid",
  "/etc/nvme/hostnqn",
  // leases of its hardware address
  "/var/lib/dhcp/*",
  "/var/lib/dhcpcd/*",
  "/var/lib/NetworkManager/*",
];

/** What a system needs as empty directories, or not at all. */
export const passingPaths: readonly string[] = [
  ...["/dev/*", "/proc/*", "/run/*", "/sys/*", "/tmp/*", "/var/tmp/*"],
  ...["/lost+found", "/var/log/journal/*", "/swapfile", "/var/swap"],
];

/** @returns whether a path, absolute, is one of `patterns`; what lies below one is not asked for */
export function matcherOf(patterns: readonly string[]): (path: string) => boolean {
  const texts = patterns.map((pattern) => pattern.split("*").map(RegExp.escape).join("[^/]*"));
  if (texts.length === 0) return () => false;
  const expression = new RegExp(`^(?:${texts.join("|")})$`, "u");
  return (path) => expression.test(path);
}
