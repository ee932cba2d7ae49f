/**
 * Watches one interface for other DHCP servers: asks now and then (probe.ts), and
 * takes clients at their word that broadcast which server they chose. A server is
 * told of when it is first heard, and again when it comes back after silence.
 *
 * It never disturbs the other server: what follows from it is decided by the mode
 * of the subnet (mode.ts) and by people.
 */

import {
  type Ipv4Address,
  type MacAddress,
  type Milliseconds,
  milliseconds,
} from "#protocol/brand.ts";
import type { Clock } from "../clock.ts";
import type { Subnet } from "../config.ts";
import { ConfigurationError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { OtherServers } from "./decision.ts";
import { deferenceTime, type Modes, modeNow } from "./mode.ts";
import {
  type HeardServer,
  namedServer,
  openProbe,
  type Probe,
  type ProbeContext,
} from "./probe.ts";

/** The first questions come quickly, because mode `auto` waits for the answers. */
const firstPeriods: readonly Milliseconds[] = [milliseconds(2_000), milliseconds(2_000)];
const period: Milliseconds = milliseconds(30_000);
/** Not heard for so long, a server that is heard again is told of again. */
const goneAfter: Milliseconds = milliseconds(600_000);
/** An absent neighbour's entry is incomplete, a present one's complete, within this time. */
const neighbourTime: Milliseconds = milliseconds(400);
/** Anybody can send an OFFER under any name: so many are kept, the oldest go. */
const maximumKept = 64;
/** One for all others a flood invents. */
const alarmsPerPeriod = 8;

export interface Detector extends OtherServers, Modes {
  close(): Promise<void>;
}

export interface DetectorContext extends ProbeContext {
  readonly subnets: readonly Subnet[];
  readonly clock: Clock;
  readonly events: Pick<EventBus, "publish">;
  readonly neighbourOf: (address: Ipv4Address) => MacAddress | undefined;
}

/** Never throws for a taken port: then it hears only what clients say. */
export async function openDetector(context: DetectorContext): Promise<Detector> {
  const detector = new Watch(context);
  await detector.open();
  return detector;
}

class Watch implements Detector {
  readonly #context: DetectorContext;
  readonly #since: Milliseconds;
  readonly #ended = new AbortController();
  /** Last time each server was heard, by kind and identifier, in that order. */
  readonly #servers = new Map<string, Milliseconds>();
  #lastHeard: Milliseconds | undefined;
  #alarms = 0;
  #probe: Probe | undefined;
  #shown = new Map<string, string>();

  constructor(context: DetectorContext) {
    this.#context = context;
    this.#since = context.clock.monotonic();
  }

  async open(): Promise<void> {
    const { log, interfaceName } = this.#context;
    try {
      this.#probe = await openProbe(this.#context, (server) => this.#heard(server));
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      log.warn(
        { err: error, interface: interfaceName },
        "other DHCP servers are not looked for: only clients tell of them, and mode auto gives no addresses",
      );
    }
    void this.#askForEver();
  }

  of(subnet: Subnet) {
    const now = this.#context.clock.monotonic();
    // Who cannot hear must not fight: mostly this machine has its own address by DHCP here.
    const lastHeard = this.#probe ? this.#lastHeard : now;
    return modeNow(subnet, { since: this.#since, now, lastHeard });
  }

  isProbe(mac: MacAddress): boolean {
    return mac === this.#probe?.mac;
  }

  chosen(serverIdentifier: Ipv4Address): void {
    const server = namedServer(serverIdentifier);
    if (server && serverIdentifier !== this.#context.address) this.#heard(server);
  }

  areHeard(): boolean {
    const now = this.#context.clock.monotonic();
    return this.#lastHeard !== undefined && now - this.#lastHeard < deferenceTime;
  }

  async close(): Promise<void> {
    this.#ended.abort();
    await this.#probe?.close();
  }

  async #askForEver(): Promise<void> {
    const { clock } = this.#context;
    const { signal } = this.#ended;
    const periods = [...firstPeriods];
    while (!signal.aborted) {
      this.#probe?.ask();
      this.#showModes();
      this.#alarms = 0;
      await clock.sleep(periods.shift() ?? period, signal);
    }
  }

  #heard(server: HeardServer): void {
    const { clock, subnets } = this.#context;
    const now = clock.monotonic();
    if (server.kind === "dhcp") this.#lastHeard = now;
    this.#showModes();
    const key = `${server.kind} ${server.serverIdentifier ?? server.address}`;
    const before = this.#servers.get(key);
    this.#servers.delete(key); // to the end of the insertion order
    this.#servers.set(key, now);
    const [oldest] = this.#servers.keys();
    if (this.#servers.size > maximumKept && oldest) this.#servers.delete(oldest);
    // in mode proxy the other DHCP server is what we were told to expect
    const isExpected = server.kind === "dhcp" && subnets[0]?.mode === "proxy";
    if (isExpected || (before !== undefined && now - before < goneAfter)) return;
    this.#alarms += 1;
    if (this.#alarms <= alarmsPerPeriod) void this.#tell(server);
  }

  /** Never rejects. */
  async #tell(server: HeardServer): Promise<void> {
    const { clock, events, interfaceName, neighbourOf, log } = this.#context;
    this.#probe?.poke(server.address);
    await clock.sleep(neighbourTime, this.#ended.signal);
    const mac = neighbourOf(server.address);
    const event = { ...server, interface: interfaceName, ...(mac && { mac }) };
    log.warn(event, "another DHCP server answers here");
    events.publish({ topic: "rogue-server", ...event });
    events.publish({ topic: "alarm", text: describe(server, interfaceName, mac) });
  }

  /** Says when mode `auto` changes its mind. */
  #showModes(): void {
    const { subnets, log, interfaceName } = this.#context;
    for (const subnet of subnets) {
      const mode = this.of(subnet);
      const before = this.#shown.get(subnet.cidr);
      this.#shown.set(subnet.cidr, mode);
      if (subnet.mode !== "auto" || before === mode) continue;
      log.info({ interface: interfaceName, subnet: subnet.cidr, mode }, "DHCP mode");
    }
  }
}

function describe(server: HeardServer, interfaceName: string, mac: MacAddress | undefined): string {
  const { kind, address, serverIdentifier, offered } = server;
  const what = kind === "dhcp" ? "DHCP" : "ProxyDHCP";
  const details = [
    ...(mac ? [mac] : []),
    ...(serverIdentifier ? [`server identifier ${serverIdentifier}`] : []),
    ...(offered ? [`offered ${offered}`] : []),
  ];
  return `another ${what} server answers on ${interfaceName}: ${address} (${details.join(", ")})`;
}
