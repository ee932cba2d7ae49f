/**
 * A node that a magic packet wakes, and nothing switches off.
 *
 *   +------+------+------+------+------+------+----------------------+-------------+
 *   |  ff  |  ff  |  ff  |  ff  |  ff  |  ff  | hardware address x16 | SecureOn 6  |
 *   +------+------+------+------+------+------+----------------------+-------------+
 *
 * as a UDP broadcast to port 9 (discard), on the node's interface only. Nobody
 * acknowledges it: whether it worked is known when the node asks by DHCP.
 */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../clock.ts";
import { PowerRefusedError, PowerUnreachableError } from "../../errors.ts";
import { silentLog } from "../../log.ts";
import { openDatagramSocket } from "../../net/udp.ts";
import { definePowerDriver, type SettingsOf, secret } from "../driver.ts";

const members = {
  mac: Type.String({
    description: "hardware address of the node",
    pattern: "^[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}$",
  }),
  interface: Type.String({
    description: "our interface on the node's network",
    pattern: "^[^\\s/]{1,15}$",
    examples: ["eth1"],
  }),
  password: Type.Optional(
    secret({ description: "SecureOn password: six octets like a MAC address" }),
  ),
};
export type WakeOnLanSettings = SettingsOf<typeof members>;

const port = 9;
const pause = milliseconds(50);
const copies = 3; // a packet may be lost, and waking twice does no harm

const octetsOf = (text: string) => Uint8Array.fromHex(text.replaceAll(/[:-]/g, ""));

export function magicPacket(mac: string, password?: string): Uint8Array {
  const address = octetsOf(mac);
  const packet = new Uint8Array(6 + 16 * 6 + (password === undefined ? 0 : 6));
  packet.fill(0xff, 0, 6);
  for (let copy = 0; copy < 16; copy++) packet.set(address, 6 + copy * 6);
  if (password !== undefined) packet.set(octetsOf(password), 6 + 16 * 6);
  return packet;
}

export const wakeOnLanDriver = definePowerDriver({
  kind: "wake-on-lan",
  about: "node woken by a magic packet; cannot be switched off",
  settings: members,
  canQuery: false,
  minimumOffTime: milliseconds(0),

  check({ password }) {
    if (password === undefined || /^[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}$/.test(password))
      return;
    throw new RangeError("password is not six octets in hexadecimal with colons");
  },

  async set({ mac, interface: name, password }, state, signal) {
    if (state === "off") {
      throw new PowerRefusedError(
        `${mac} can be woken by network but not switched off: use a shutdown job, or give its slot another outlet`,
      );
    }
    const options = { interface: name, port: 0, broadcast: true };
    const socket = await openDatagramSocket(options, silentLog).catch((cause: unknown) => {
      throw new PowerUnreachableError(`no magic packet can be sent on ${name}`, { cause });
    });
    for (let copy = 0; copy < copies; copy++) {
      socket.send(magicPacket(mac, password), port, "255.255.255.255");
      await systemClock.sleep(pause, signal); // also lets it leave before the socket closes
    }
    await socket.close();
  },

  query: () => Promise.resolve("unknown"),
});
