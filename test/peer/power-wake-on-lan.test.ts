/** Magic packets in network namespaces: a packet is seen on the node's cable, none on the other one. */

import { createSocket } from "node:dgram";
import test, { type ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { magicPacket, wakeOnLanDriver } from "../../server/power/drivers/wake-on-lan.ts";
import { erase } from "../../server/power/registry.ts";
import { type Bench, powerDriverContract } from "../power/contract.ts";
import { cable, namespace } from "../support/namespaces.ts";

const mac = "52:54:00:00:0a:01";
const child = new URL("wake-child.ts", import.meta.url).pathname;
/** Prints what comes to UDP port 9, in hexadecimal, one line each. */
const listener = `
  const socket = require("node:dgram").createSocket("udp4");
  socket.on("message", (bytes) => console.log(bytes.toString("hex")));
  socket.bind(9, () => console.log("listening"));
`;

test("a magic packet leaves by the node's interface only", async (t) => {
  const server = namespace(t, "wakesrv");
  const [node, other] = [namespace(t, "wakenode"), namespace(t, "wakeother")];
  cable({ in: server, name: "rack0", address: "10.77.0.1/24" }, { in: node, name: "eth0", mac });
  cable(
    { in: server, name: "office0", address: "10.78.0.1/24" },
    { in: other, name: "eth0", mac: "52:54:00:00:0b:01" },
  );
  node.run("ip", "address", "add", "10.77.0.2/24", "dev", "eth0");
  other.run("ip", "address", "add", "10.78.0.2/24", "dev", "eth0");
  const heard = [node, other].map((place) => {
    const lines: string[] = [];
    const child = place.start(process.execPath, "-e", listener);
    child.stdout?.on("data", (text) => lines.push(...String(text).split("\n").filter(Boolean)));
    return lines;
  });
  const [onRack = [], onOffice = []] = heard;
  await seen(() => onRack.length > 0 && onOffice.length > 0);
  server.run(process.execPath, child, mac, "rack0");
  await seen(() => onRack.length > 1);
  t.is(onRack[1], Buffer.from(magicPacket(mac)).toString("hex"));
  t.deepEqual(onOffice, ["listening"]);
});

async function seen(look: () => boolean): Promise<void> {
  for (let round = 0; round < 1200 && !look(); round++) {
    await systemClock.sleep(milliseconds(50));
  }
}

// On `lo` nothing leaves the machine, and our own broadcast comes back.
powerDriverContract("wake-on-lan", (t): Promise<Bench> => onLoopback(t));

async function onLoopback(t: ExecutionContext): Promise<Bench> {
  let heard = 0;
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  socket.on("message", (bytes) => {
    if (bytes.equals(magicPacket(mac))) heard += 1;
  });
  await new Promise<void>((resolve) => socket.bind(9, resolve));
  t.teardown(() => socket.close());
  return {
    driver: erase(wakeOnLanDriver),
    settings: { mac, interface: "lo" },
    silent: { mac, interface: "absent0" },
    state: () => (heard > 0 ? "on" : "off"),
    contacts: () => heard,
    cannotSwitchOff: true,
  };
}
