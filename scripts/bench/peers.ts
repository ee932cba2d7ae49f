/**
 * The peers, as Debian packages them, each with the settings its own documentation
 * recommends for this work. Whoever knows a better setting: here is the place.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { serverAddress, serverInterface } from "./arena.ts";
import type { Contender } from "./contender.ts";
import { bootFileName } from "./content.ts";
import { known } from "./known-clients.ts";

export const httpPort = 8080;

/**
 * Kea: the lease file it keeps by default (memfile, persistent), raw sockets as
 * for clients on the same segment, and the threads and queue its manual recommends
 * for memfile: 4 threads, 7 packets each. `long queue`: 256 packets instead, the best
 * of five settings tried (no threads; 4 with 28, 64, 256; 2 with 500). Its log says
 * warnings only.
 */
export function kea(setting: "recommended" | "long queue"): Contender {
  const version = versionOf("kea-dhcp4", ["-v"], /^(?<version>[\d.]+)/m);
  return {
    name: `kea-dhcp4 ${version}${setting === "recommended" ? "" : `, ${setting}`}`,
    command(directory) {
      const config = join(directory, "kea.json");
      const leases = join(directory, "leases.csv");
      writeFileSync(
        config,
        JSON.stringify({
          Dhcp4: {
            "interfaces-config": { interfaces: [serverInterface], "dhcp-socket-type": "raw" },
            "lease-database": {
              type: "memfile",
              persist: true,
              name: leases,
              "lfc-interval": 3600,
            },
            "multi-threading": {
              "enable-multi-threading": true,
              "thread-pool-size": 4,
              "packet-queue-size": setting === "recommended" ? 28 : 256,
            },
            "host-reservation-identifiers": ["hw-address"],
            "valid-lifetime": 3600,
            subnet4: [
              {
                id: 1,
                subnet: "10.64.0.0/12",
                interface: serverInterface,
                pools: [{ pool: "10.64.1.0 - 10.67.255.255" }],
                "reservations-out-of-pool": true, // then it looks for none of a pool's address
                reservations: known.map(({ mac, address }) => ({
                  "hw-address": mac,
                  "ip-address": address,
                })),
              },
            ],
            loggers: [
              {
                name: "kea-dhcp4",
                severity: "WARN",
                output_options: [{ output: "stderr" }],
              },
            ],
          },
        }),
      );
      return {
        program: "kea-dhcp4",
        args: ["-c", config],
        environment: { KEA_PIDFILE_DIR: directory, KEA_LOCKFILE_DIR: directory },
        ready: [{ protocol: "udp", port: 67 }],
      };
    },
  };
}

/**
 * dnsmasq as a TFTP server only: DNS and DHCP off, one port instead of one per
 * transfer is not asked for. Its limit of transfers is raised from 50.
 */
export function dnsmasqTftp(content: string): Contender {
  const version = versionOf("dnsmasq", ["--version"], /version (?<version>[\d.]+)/);
  return {
    name: `dnsmasq ${version}`,
    command: (directory) => ({
      program: "dnsmasq",
      args: [
        ...["--keep-in-foreground", "--conf-file=/dev/null", "--port=0"],
        ...[`--interface=${serverInterface}`, "--bind-interfaces"],
        ...["--enable-tftp", `--tftp-root=${dirname(content)}`, "--tftp-max=512"],
        ...[
          `--pid-file=${join(directory, "pid")}`,
          "--user=root",
          "--log-facility=-",
          "--quiet-tftp",
        ],
      ],
      ready: [{ protocol: "udp", port: 69 }],
    }),
  };
}

/**
 * dnsmasq as the boot server of a network: DHCP and TFTP, hosts it knows by their
 * MAC addresses, a range for others. Addresses are not pinged before they are offered:
 * that would hold up a known node's boot by seconds. Its limit of 1000 leases stays.
 */
export function dnsmasqBoot(
  content: string,
  knownNodes: readonly { readonly mac: string; readonly address: string }[],
): Contender {
  const base = dnsmasqTftp(content);
  return {
    name: base.name,
    command(directory) {
      const { program, args } = base.command(directory);
      return {
        program,
        args: [
          ...args,
          ...["--dhcp-range=10.64.1.0,10.67.255.255,255.240.0.0,1h", "--no-ping", "--quiet-dhcp"],
          ...knownNodes.map(({ mac, address }) => `--dhcp-host=${mac},${address}`),
          "--dhcp-authoritative",
          ...[`--dhcp-boot=${bootFileName}`, `--dhcp-leasefile=${join(directory, "leases")}`],
        ],
        ready: [
          { protocol: "udp", port: 67 },
          { protocol: "udp", port: 69 },
        ],
      };
    },
  };
}

/** tftpd-hpa as Debian starts it: `--secure`, in the foreground, the user of the package. */
export function tftpdHpa(content: string): Contender {
  const version = versionOf("in.tftpd", ["--version"], /tftp-hpa (?<version>[\d.]+)/);
  return {
    name: `tftpd-hpa ${version}`,
    command: () => ({
      program: "in.tftpd",
      args: [
        ...["--foreground", "--ipv4", "--user", "tftp", "--address", `${serverAddress}:69`],
        ...["--secure", dirname(content)],
      ],
      ready: [{ protocol: "udp", port: 69 }],
    }),
  };
}

/**
 * nginx for static files: a worker per core, sendfile with tcp_nopush, descriptors
 * of open files kept, no access log; keep-alive by its defaults (75 s, 1000 requests).
 */
export function nginx(content: string): Contender {
  const version = versionOf("nginx", ["-v"], /nginx\/(?<version>[\d.]+)/);
  return {
    name: `nginx ${version}`,
    command(directory) {
      const config = join(directory, "nginx.conf");
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => {
        mkdirSync(join(directory, name));
        return `  ${name}_temp_path ${join(directory, name)};`;
      });
      writeFileSync(
        config,
        `
user www-data;
worker_processes ${availableParallelism()};
daemon off;
pid ${join(directory, "pid")};
error_log stderr warn;
events { worker_connections 2048; }
http {
${temporary.join("\n")}
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=100 inactive=60s;
  server {
    listen ${serverAddress}:${httpPort} backlog=1024;
    location /boot/loaders/ { alias ${dirname(content)}/; }
  }
}
`,
      );
      return {
        program: "nginx",
        args: ["-c", config, "-e", "stderr"],
        ready: [{ protocol: "tcp", port: httpPort }],
      };
    },
  };
}

/** A server made of the npm package of that name; its options are those of its own example. */
export function npmPackage(name: "tftp" | "dhcp", directory: string, content: string): Contender {
  const manifest = join(directory, "node_modules", name, "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return {
    name: `npm ${name} ${version}`,
    isFragile: true,
    command: () => ({
      program: process.execPath,
      args: [
        ...[join(import.meta.dirname, "baseline.ts"), name, directory],
        ...[serverAddress, dirname(content)],
      ],
      ready: [{ protocol: "udp", port: name === "tftp" ? 69 : 67 }],
    }),
  };
}

/** @throws Error when the program is not there */
function versionOf(program: string, args: readonly string[], pattern: RegExp): string {
  const { stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
  if (error) throw new Error(`${program} cannot be run`, { cause: error });
  return pattern.exec(stdout + stderr)?.groups?.["version"] ?? "of unknown version";
}
