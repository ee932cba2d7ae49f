/**
 * Our server as a whole: `marcoboot serve` with its journal, its Redis, its HTTP and
 * agent listeners, as a user runs it. Nothing is switched off for the bench; its log says
 * warnings only, as that of every peer.
 */

import { cpSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loaderAddress, serverInterface } from "./arena.ts";
import type { Contender } from "./contender.ts";
import { reserveInJournal } from "./known-clients.ts";

export const bootPort = 8080;
const adminPort = 8000;

/**
 * @param content - one of the files every contender serves: all that lie beside it are our loaders
 * @param checkout - where the server's sources are
 */
export function marcoboot(content: string, checkout: string): Contender {
  return {
    name: "marcoboot",
    command(directory) {
      const loadersDirectory = join(directory, "loaders");
      cpSync(dirname(content), loadersDirectory, { recursive: true });
      const stateDirectory = join(directory, "state");
      reserveInJournal(checkout, stateDirectory);
      const config = join(directory, "marcoboot.yaml");
      writeFileSync(
        config,
        JSON.stringify({
          stateDirectory,
          netinstDirectory: join(directory, "netinst"),
          loadersDirectory,
          logLevel: "warn",
          bootPort,
          adminPort,
          subnets: [
            {
              cidr: "10.64.0.0/12",
              interface: serverInterface,
              reserved: ["10.64.0.10", "10.64.0.99"],
              pool: ["10.64.1.0", "10.67.255.255"],
              relays: [loaderAddress],
            },
          ],
        }),
      );
      return {
        program: process.execPath,
        args: [join(checkout, "server", "cli", "main.ts"), "serve", "--config", config],
        ready: [
          { protocol: "udp", port: 67 },
          { protocol: "udp", port: 69 },
          { protocol: "tcp", port: bootPort },
          { protocol: "tcp", port: adminPort },
        ],
      };
    },
  };
}
