/**
 * A TFTP or DHCP server made of a package from npm, a process of its own: the baseline
 * that people reach for first. The packages are no dependency of ours; they are
 * taken from a directory where somebody installed them.
 *
 *   node baseline.ts tftp <directory> <address> <root>
 *   node baseline.ts dhcp <directory> <address>
 */

import { createRequire } from "node:module";
import { join } from "node:path";

const [name = "", directory = "", address = "", root = ""] = process.argv.slice(2);
const load = createRequire(join(directory, "package.json"));

interface Server {
  on(event: string, listener: (error: unknown) => void): void;
  listen(port?: number): void;
}

function tftp(): Server {
  const { createServer } = load("tftp") as { createServer(options: unknown): Server };
  return createServer({ host: address, port: 69, root, denyPUT: true });
}

function dhcp(): Server {
  const { createServer } = load("dhcp") as { createServer(options: unknown): Server };
  return createServer({
    range: ["10.64.1.0", "10.67.255.255"],
    netmask: "255.240.0.0",
    broadcast: "10.79.255.255",
    server: address,
    leaseTime: 3600,
    randomIP: false,
  });
}

const server = name === "tftp" ? tftp() : dhcp();
server.on("error", (error) => process.stderr.write(`${String(error)}\n`));
server.listen();
