/**
 * Makes a copied OS this node's own: name, keys, network, resident agent. Works on a mounted tree
 * before the disk is bootable; nothing of the image is executed.
 */

import { copyFileSync, readdirSync, statfsSync, statSync } from "node:fs";
import type { InstalledSystem } from "#protocol/node.ts";
import type { ClientCredential } from "../connection.ts";
import type { Console } from "../console.ts";
import { identityText } from "../enrol.ts";
import { InstallRefusedError } from "../errors.ts";
import { openRootTree, type RootTree } from "../root-tree.ts";
import { readText, type Site } from "../settings.ts";
import { makeSshHostKey } from "../ssh-host-key.ts";
import { systemPath, systemText, trialFile } from "./installed-system.ts";
import { home, startAgentAtBoot } from "./resident-service.ts";

export interface NodeConfiguration {
  readonly hostname: string;
  /** Lines for root's authorized_keys. */
  readonly authorizedKeys: readonly string[];
  readonly mac: string;
  readonly site: Site;
  readonly identity: ClientCredential;
  /** Where the system comes from, as its agent shall tell. */
  readonly system: InstalledSystem;
  /** It is on trial: so long it has to be confirmed. */
  readonly trialSeconds?: number;
  /** Squashfs of the agent; absent: the OS gets no resident agent. */
  readonly agentImage?: string;
}

/** @returns fingerprints of the SSH host keys. @throws InstallRefusedError if the tree is no Linux system */
export function configureTree(
  directory: string,
  node: NodeConfiguration,
  console: Console,
): readonly string[] {
  const tree = openRootTree(directory);
  if (!tree.has("/etc")) throw new InstallRefusedError("the image's root file system has no /etc");
  nameIt(tree, node.hostname);
  const fingerprints = setUpSsh(tree, node);
  setUpNetwork(tree, node.mac, console);
  installAgent(tree, node, console);
  return fingerprints;
}

function nameIt(tree: RootTree, hostname: string): void {
  tree.write("/etc/hostname", `${hostname}\n`);
  const short = hostname.split(".")[0] ?? hostname;
  const names = short === hostname ? hostname : `${hostname} ${short}`;
  const hosts = readText(tree.locate("/etc/hosts")) ?? "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
  const others = hosts.split("\n").filter((line) => !/^127\.0\.1\.1\s/.test(line) && line !== "");
  tree.write("/etc/hosts", `${[...others, `127.0.1.1\t${names}`].join("\n")}\n`);
  // empty: systemd makes a new one at first boot; the image's own would be shared by every node
  tree.write("/etc/machine-id", "", 0o444);
  if (tree.has("/var/lib/dbus/machine-id")) tree.remove("/var/lib/dbus/machine-id");
}

function setUpSsh(tree: RootTree, node: NodeConfiguration): readonly string[] {
  if (node.authorizedKeys.length > 0) {
    tree.makeDirectory("/root", 0o700);
    tree.makeDirectory("/root/.ssh", 0o700);
    const lines = node.authorizedKeys.map((line) => line.replaceAll(/[\r\n]/g, " ").trim());
    tree.write("/root/.ssh/authorized_keys", `${lines.join("\n")}\n`, 0o600);
  }
  if (!tree.has("/etc/ssh")) return [];
  for (const name of readdirSync(tree.locate("/etc/ssh/x").slice(0, -2))) {
    if (name.startsWith("ssh_host_")) tree.remove(`/etc/ssh/${name}`);
  }
  const key = makeSshHostKey(`root@${node.hostname}`);
  tree.write("/etc/ssh/ssh_host_ed25519_key", key.privateFile, 0o600);
  tree.write("/etc/ssh/ssh_host_ed25519_key.pub", key.publicFile);
  return [key.fingerprint];
}

const networkUnits = ["/usr/lib/systemd/system", "/lib/systemd/system"];

function setUpNetwork(tree: RootTree, mac: string, console: Console): void {
  const units = networkUnits.find((path) => tree.has(`${path}/systemd-networkd.service`));
  if (units === undefined) {
    console.info(
      "the image has no systemd-networkd: its own network settings are left as they are",
    );
    return;
  }
  tree.write(
    "/etc/systemd/network/10-marcoboot.network",
    [
      "[Match]",
      `MACAddress=${mac}`,
      "",
      "[Network]",
      "DHCP=ipv4",
      "",
      "[DHCPv4]",
      "# the lease is the hardware address's, the same in firmware, installer and OS",
      "ClientIdentifier=mac",
      "UseDomains=yes",
      "",
    ].join("\n"),
  );
  const enable = (unit: string, from: string) => {
    if (tree.has(`${units}/${unit}`))
      tree.link(`/etc/systemd/system/${from}/${unit}`, `${units}/${unit}`);
  };
  enable("systemd-networkd.service", "multi-user.target.wants");
  enable("systemd-networkd.socket", "sockets.target.wants");
  enable("systemd-networkd-wait-online.service", "network-online.target.wants");
}

function installAgent(tree: RootTree, node: NodeConfiguration, console: Console): void {
  if (node.agentImage === undefined) {
    console.info("no agent image here: the installed OS gets no resident agent");
    return;
  }
  const size = statSync(node.agentImage).size;
  const { bavail, bsize } = statfsSync(tree.directory);
  if (bavail * bsize < size + (8 << 20)) {
    throw new InstallRefusedError(
      `the root file system has ${bavail * bsize} bytes free, the agent needs ${size}`,
    );
  }
  tree.makeDirectory("/var/lib/marcoboot", 0o755);
  tree.makeDirectory(`${home}/agent`, 0o755);
  tree.makeDirectory(`${home}/identity`, 0o700);
  copyFileSync(node.agentImage, tree.locate(`${home}/agent.squashfs`));
  const site: Site = { ...node.site, mac: node.mac };
  tree.write(`${home}/identity/site.json`, `${JSON.stringify(site)}\n`, 0o600);
  tree.write(`${home}/identity/node.pem`, identityText(node.identity), 0o600);
  tree.write(systemPath(`${home}/identity`), systemText(node.system), 0o600);
  if (node.trialSeconds !== undefined) tree.write(`${home}/${trialFile}`, `${node.trialSeconds}\n`);
  const startedBy = startAgentAtBoot(tree);
  if (startedBy === undefined) {
    console.info("the image has neither systemd nor /etc/init.d: nothing starts its agent");
  }
}
