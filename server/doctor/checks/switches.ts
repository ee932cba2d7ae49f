/**
 * What the switch does to a node's first seconds: spanning tree, which holds a
 * port back for half a minute, and IGMP snooping, which drops multicast where
 * nobody asks who wants it. Heard on the wire, and read from bridges that are here.
 */

import { type Ipv4Address, milliseconds } from "#protocol/brand.ts";
import type { Finding } from "#protocol/timeline.ts";
import { openPacketSocket } from "../../sim/packet-socket.ts";
import { type Check, type CheckContext, fine, hint, interfacesOf, problem } from "../check.ts";
import { type Bpdu, decodeBpdu } from "../codec/bpdu.ts";
import { decodeQuerier } from "../codec/igmp.ts";

/** RFC 2236 §8.2: a querier asks every 125 s. */
const queryInterval = milliseconds(125_000);
const poll = milliseconds(100);
const noAddress = "0.0.0.0"; // a switch that has no address in this VLAN

export const switchesCheck: Check = {
  name: "switches",
  async examine(context) {
    const findings = await Promise.all(
      interfacesOf(context)
        .filter((name) => context.machine.read(`sys/class/net/${name}/carrier`) === "1")
        .map((name) => examineOne(name, context)),
    );
    return findings.flat();
  },
};

async function examineOne(name: string, context: CheckContext): Promise<readonly Finding[]> {
  const local = bridgeOf(name, context);
  const heard = await listen(name, context);
  if (!heard) {
    return [
      ...localFindings(name, local),
      hint("not-listened", `${name} could not be listened on`, "run the doctor as root"),
    ];
  }
  return [
    ...localFindings(name, local),
    ...spanningTree(name, heard.bpdu, local, context),
    ...snooping(name, heard.querier, local, context),
  ];
}

interface Heard {
  readonly bpdu?: Bpdu;
  readonly querier?: Ipv4Address;
}

/** `undefined`: not allowed (CAP_NET_RAW). */
async function listen(
  name: string,
  { clock, signal, listen: time, log }: CheckContext,
): Promise<Heard | undefined> {
  let heard: Heard = {};
  try {
    const socket = await openPacketSocket(name);
    try {
      const end = clock.monotonic() + time;
      while (clock.monotonic() < end && !signal.aborted && !(heard.bpdu && heard.querier)) {
        socket.receive((frame) => {
          const bpdu = decodeBpdu(frame);
          const querier = decodeQuerier(frame);
          heard = { ...heard, ...(bpdu && { bpdu }), ...(querier && { querier }) };
        });
        await clock.sleep(poll, signal);
      }
    } finally {
      socket.close();
    }
    return heard;
  } catch (error) {
    log.debug({ err: error, interface: name }, "frames cannot be heard");
    return undefined;
  }
}

function spanningTree(
  name: string,
  bpdu: Bpdu | undefined,
  local: Bridge | undefined,
  { listen: time }: CheckContext,
): readonly Finding[] {
  if (local?.isStpOn) return []; // told by the bridge itself
  if (!bpdu) {
    return [fine("no-spanning-tree", `no spanning tree heard on ${name} in ${time / 1000} s`)];
  }
  const { version, forwardDelay, bridge, topologyChange } = bpdu;
  const delay = 2 * forwardDelay;
  const change = topologyChange ? ", and its topology changes just now" : "";
  return [
    hint(
      "spanning-tree",
      `the switch ${bridge} on ${name} speaks ${version.toUpperCase()}${change}: a port that is no edge port drops everything for up to ${delay} s after link-up, and a Raspberry Pi 3 gives up after 25 s`,
      "make the nodes' ports edge ports (portfast, spanning-tree edge)",
    ),
  ];
}

function snooping(
  name: string,
  querier: Ipv4Address | undefined,
  local: Bridge | undefined,
  { listen: time, config }: CheckContext,
): readonly Finding[] {
  if (querier)
    return [
      fine(
        "igmp-querier",
        `an IGMP querier${querier === noAddress ? "" : ` (${querier})`} asks for multicast groups on ${name}`,
      ),
    ];
  if (local?.isSnooping && !local.isQuerier) return []; // told by the bridge itself
  if (time < queryInterval) {
    return [
      fine(
        "igmp-not-heard",
        `no IGMP querier heard on ${name} in ${time / 1000} s; they ask every 125 s: --listen 130 tells for certain`,
      ),
    ];
  }
  return [
    hint(
      "igmp-no-querier",
      `no IGMP querier on ${name}: a switch with IGMP snooping drops the agents' multicast to ${config.discovery.group}`,
      "switch a querier on in the switch, or IGMP snooping off in this VLAN",
    ),
  ];
}

interface Bridge {
  readonly name: string;
  readonly isStpOn: boolean;
  readonly forwardDelay: number;
  readonly isSnooping: boolean;
  readonly isQuerier: boolean;
}

/** The interface as a bridge of this machine, or the bridge it is a port of. */
function bridgeOf(name: string, { machine }: CheckContext): Bridge | undefined {
  const master = machine.link(`sys/class/net/${name}/brport/bridge`)?.split("/").at(-1);
  const bridge = master ?? name;
  const read = (file: string) => machine.read(`sys/class/net/${bridge}/bridge/${file}`);
  if (read("stp_state") === undefined) return undefined;
  return {
    name: bridge,
    isStpOn: read("stp_state") !== "0",
    forwardDelay: Number(read("forward_delay") ?? 0) / 100, // USER_HZ
    isSnooping: read("multicast_snooping") === "1",
    isQuerier: read("multicast_querier") === "1",
  };
}

function localFindings(name: string, bridge: Bridge | undefined): readonly Finding[] {
  if (!bridge) return [];
  const on = bridge.name === name ? `the bridge ${name}` : `${name}'s bridge ${bridge.name}`;
  return [
    ...(bridge.isStpOn && bridge.forwardDelay > 0
      ? [
          problem(
            "bridge-delay",
            `${on} of this machine runs spanning tree: a port drops everything for ${2 * bridge.forwardDelay} s after link-up`,
            `ip link set ${bridge.name} type bridge stp_state 0 forward_delay 0`,
          ),
        ]
      : []),
    ...(bridge.isSnooping && !bridge.isQuerier
      ? [
          hint(
            "bridge-no-querier",
            `${on} of this machine has IGMP snooping and is no querier: without another querier it drops the agents' multicast after some minutes`,
            `ip link set ${bridge.name} type bridge mcast_querier 1, or mcast_snooping 0`,
          ),
        ]
      : []),
  ];
}
