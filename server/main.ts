/**
 * Composition root: makes every room, hands each what it needs, and takes them
 * down in the reverse order. Nothing else in the server knows all of them.
 *
 *   store -> site keys -> nodes, leases, windows, power -> learning, boot, images, jobs
 *         -> dhcp, tftp, boot HTTP, agents, discovery (one of each per subnet) -> admin
 */

import { mkdirSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { hostname } from "node:os";
import { join } from "node:path";
import { type Ipv4Address, milliseconds } from "#protocol/brand.ts";
import type { FirmwareName } from "#protocol/firmware.ts";
import { isFinished } from "#protocol/job.ts";
import { createCaptures } from "../images/captures.ts";
import { createLibrary, type Library } from "../images/library.ts";
import { createUploads } from "../images/uploads.ts";
import { startAgentListener } from "./agent/listener.ts";
import { createSelfUpdates } from "./agent/self-update.ts";
import { refuseHalfRestored } from "./backup/restore.ts";
import { noteSettings } from "./backup/settings.ts";
import type { BootClient } from "./boot/client.ts";
import { createBoot } from "./boot/profile.ts";
import { presentBoot, steadyClock, systemClock, wakingClock } from "./clock.ts";
import { type Config, readConfig, type Subnet } from "./config.ts";
import { mayBeProxy } from "./dhcp/mode.ts";
import { startDhcp } from "./dhcp/server.ts";
import { createNeighbourKeeper, createSightings } from "./dhcp/sightings.ts";
import { startDiscovery } from "./discovery/server.ts";
import { type ServiceFiles, watchServices } from "./discovery/shared/services.ts";
import { openSwitches } from "./enrol/learning/evidence/switches.ts";
import { createLearning } from "./enrol/learning/learning.ts";
import { openOwnSite } from "./enrol/own-site.ts";
import { createWindows } from "./enrol/token.ts";
import { ConfigurationError, ForbiddenError, NotFoundError } from "./errors.ts";
import { createEventBus, type EventOf, unhurried } from "./events.ts";
import { startAdmin } from "./http/admin.ts";
import { type BootImages, startBootListener } from "./http/boot-listener.ts";
import { createJobs, type Jobs } from "./job/jobs.ts";
import { createProbe } from "./job/probe.ts";
import { openQueue } from "./job/queue.ts";
import { startRedis } from "./job/redis.ts";
import { createSchedules } from "./job/schedules.ts";
import { openLeaseFile } from "./lease/lease-file.ts";
import { contains, createLeases, recordOf } from "./lease/leases.ts";
import { createLog, type Log } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { createHearing } from "./net/hearing.ts";
import { interfaceAddress } from "./net/interfaces.ts";
import { neighbourOf } from "./net/neighbour-table.ts";
import { createNeighbours } from "./net/neighbours.ts";
import { openDatagramSocket } from "./net/udp.ts";
import { startNetconsole } from "./netconsole/server.ts";
import { createNodes } from "./node/nodes.ts";
import { createWatching } from "./node/watching.ts";
import { openChannels } from "./notify/channels.ts";
import { createNotifier } from "./notify/notifier.ts";
import { endOrphans } from "./power/orphans.ts";
import { createPower } from "./power/power.ts";
import { openSecrets } from "./power/secrets.ts";
import { createRacks } from "./rack/racks.ts";
import { createRules } from "./rule/rules.ts";
import { openServiceManager } from "./service-manager.ts";
import { openSshKey } from "./ssh/key.ts";
import { createShells } from "./ssh/shells.ts";
import { keepJournal } from "./store/keep-journal.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import { lockState } from "./store/state-lock.ts";
import { startTftp } from "./tftp/server.ts";

/** Nodes are looked over this often; one that has not called for 45 s is offline. */
const offlineCheck = milliseconds(5000);
/** What of the server has not closed by then is left to the end of the process. */
const closeWithin = milliseconds(15_000);

export interface RunningServer {
  /** Shown once on the console while no admin exists. */
  readonly setupCode: string | undefined;
  /** Reads the service files again. */
  reload(): void;
  /** Ends transfers, closes sockets, Redis and the journal. Idempotent. */
  close(): Promise<void>;
}

/** A subnet with the server's own address on its interface. */
interface Served {
  readonly subnet: Subnet;
  readonly address: Ipv4Address;
  readonly bootUrl: string;
  readonly agentUrl: string;
}

/**
 * Starts everything.
 *
 * @throws ConfigurationError when an interface or a file of the configuration is not there
 */
export async function startServer(config: Config): Promise<RunningServer> {
  const clock = systemClock;
  const steady = steadyClock(clock);
  const log = createLog(config.logLevel);
  const closers: (() => Promise<void> | void)[] = [];
  const closeAll = async () => {
    for (const closer of closers.splice(0).reverse()) {
      try {
        await closer();
      } catch (error) {
        log.error({ err: error }, "a part of the server did not close");
      }
    }
  };
  const close = async () => {
    const closed = new AbortController();
    await Promise.race([closeAll(), clock.sleep(closeWithin, closed.signal)]);
    closed.abort();
  };
  try {
    mkdirSync(config.stateDirectory, { recursive: true, mode: 0o700 });
    closers.push(await lockState(config.stateDirectory, clock));
    refuseHalfRestored(config.stateDirectory);
    const served = config.subnets.map((subnet) => serveSubnet(config, subnet));
    const segments = [...new Map(served.map((one) => [one.subnet.interface, one])).values()];
    const events = createEventBus(log);
    const journal = join(config.stateDirectory, "marcoboot.db");
    const store = openSqliteStore(journal);
    closers.push(() => store.close());
    closers.push(keepJournal({ path: journal, store, events, clock, log }));
    const site = await openOwnSite(join(config.stateDirectory, "keys"), store);

    const waking = wakingClock(clock, (duration) => {
      const seconds = Math.round(duration / 1000);
      log.error({ seconds }, "the server stood still");
      const text = `the server stood still for ${seconds} s (stopped, or its machine was): nodes and jobs are given that time`;
      events.publish({ topic: "alarm", text });
    });
    closers.push(waking.end);
    const hearing = createHearing({
      segments: segments.map(({ subnet, address }) => ({
        interfaceName: subnet.interface,
        address,
      })),
      clock: waking.clock,
      events,
      log,
    });
    closers.push(hearing.close);
    const clockOf = (address: Ipv4Address | undefined) =>
      hearing.clockOf(reachableFrom(served, address).subnet.interface);
    const nodes = createNodes({ store, events, clock: waking.clock, clockOf, log });
    const watching = createWatching(clock);
    const metrics = createMetrics({ store, nodes, events });
    closers.push(() => metrics.close());
    const leaseFile = await openLeaseFile(
      join(config.stateDirectory, "leases"),
      { clock, log, boot: presentBoot(steady) },
      store.leases.list().map(recordOf),
    );
    closers.push(() => leaseFile.close());
    const packetEvents = unhurried(events, { clock, log });
    const leases = createLeases({ store, file: leaseFile, clock: steady, events: packetEvents });
    const neighbours = await createNeighbours();
    closers.push(() => neighbours.close());
    const keeper = createNeighbourKeeper({ subnets: config.subnets, neighbours, log });
    const sightings = config.subnets.some(mayBeProxy)
      ? createSightings({ clock, neighbourOf, keeper })
      : undefined;
    closers.push(() => sightings?.close());
    // Where another server gives the addresses, its clients are known by what was seen of them.
    const peers = { macOf: (one: Ipv4Address) => sightings?.macOf(one) ?? leases.macOf(one) };
    const windows = createWindows({ store, clock: steady, config, log });
    // A boot client nobody wrote into the rack file becomes a node of state "discovered".
    events.on("heard", (heard) => {
      const client = clientOf(heard);
      if (client) nodes.heard(client);
    });
    const secrets = await openSecrets(join(config.stateDirectory, "keys"));
    await endOrphans({ clock, log });
    const power = createPower({ store, events, clock, log, secrets, inrush: config.power });
    const ownAddresses = served.map(({ address }) => address);
    const racks = createRacks({ store, power, secrets, config, ownAddresses });
    const locate = await openSwitches(config.switches, log);
    const learning = createLearning({
      store,
      nodes,
      leases,
      power,
      windows,
      events,
      clock: hearing.clock,
      log,
      subnets: config.subnets,
      ...(locate && { locate }),
    });
    closers.push(() => learning.close());
    const library = createLibrary({
      directory: join(config.stateDirectory, "images"),
      store,
      site,
      clock,
      log,
      events,
    });
    closers.push(() => library.close());
    const uploads = createUploads(join(config.stateDirectory, "images", ".captured"), (id) => {
      const task = store.tasks.get(id);
      return task !== undefined && !isFinished(task.state);
    });
    const captures = createCaptures({ uploads, library, events, log });
    closers.push(() => captures.close());
    const boot = createBoot({
      config,
      store,
      leases: peers,
      windows,
      site,
      images: library,
      servers: segments.map(({ address, bootUrl }) => ({ address, httpUrl: bootUrl })),
      events,
      log,
    });
    const sshKey = await openSshKey(join(config.stateDirectory, "keys", "ssh.key"));
    const redis = config.redisUrl
      ? { url: config.redisUrl, close: async () => undefined }
      : await startRedis({ directory: join(config.stateDirectory, "redis"), log, clock });
    closers.push(() => redis.close());
    const queue = await openQueue({ redisUrl: redis.url, log, clock });
    closers.push(() => queue.close());
    const jobs = createJobs({
      store,
      nodes,
      events,
      clock: waking.clock,
      clockOf: (node) => clockOf(node?.address),
      log,
      queue,
      power,
      windows,
      images: library,
      captures,
      bootUrlFor: ({ address }) => reachableFrom(served, address).bootUrl,
      shellOf: createShells(config.ssh, sshKey),
      authorizedKeys: config.ssh.installKey ? [sshKey.publicLine] : [],
      commands: config.commands,
      timing: {
        firstBoot: milliseconds(config.firstBootSeconds * 1000),
        silence: milliseconds(config.silenceSeconds * 1000),
      },
      probe: createProbe(clock, (address) => reachableFrom(served, address).address),
      metrics: metrics.jobs,
    });
    closers.push(() => jobs.close());
    const rules = createRules({
      store,
      jobs,
      whyWait: ({ mac, slot }) => {
        const { state, rack, flagged } = learning.status();
        if (rack !== slot?.rack) return undefined;
        if (state === "running") return "its rack is being learned";
        const isGuess = flagged.some((flag) => flag.reason === "unconfirmed" && flag.mac === mac);
        return isGuess ? "its slot is not confirmed" : undefined;
      },
      clock,
      log,
    });
    nodes.admitBy(rules.admit);

    const services = watchServices(config.discovery.services, (files) => tellServices(files, log));
    closers.push(() => services.close());

    const selfUpdates = createSelfUpdates({ config, store, events, clock, log });

    for (const { subnet, address, bootUrl, agentUrl } of segments) {
      const interfaceName = subnet.interface;
      const tftp = await startTftp({
        config,
        interfaceName,
        address,
        files: boot.files,
        leases: peers,
        events,
        clock,
        log,
        metrics: metrics.tftp,
      });
      closers.push(() => tftp.close());
      const http = await startBootListener({
        config,
        interfaceName,
        address,
        files: boot.files,
        images: imageSource(jobs, library),
        events,
        log,
        leases: peers,
        clock,
        metrics: metrics.bootHttp,
      });
      closers.push(() => http.close());
      const agents = await startAgentListener({
        config,
        interfaceName,
        address,
        site,
        nodes,
        jobs,
        uploads,
        selfUpdates,
        watching,
        windows,
        store,
        leases: peers,
        events,
        clock,
        log,
        metrics: metrics.heartbeat,
      });
      closers.push(() => agents.close());
      const discovery = await startDiscovery({
        config,
        interfaceName,
        address,
        site,
        bootUrl,
        agentUrl,
        hostname: hostname(),
        services: () => services.current(),
        log,
        clock,
        openSocket: openDatagramSocket,
        metrics: metrics.discovery,
      });
      closers.push(() => discovery.close());
      const netconsole = await startNetconsole({
        config,
        interfaceName,
        leases: peers,
        events,
        clock,
        log,
        openSocket: openDatagramSocket,
      });
      closers.push(() => netconsole.close());
    }
    const notifier = createNotifier({
      channels: await openChannels(config.notifications, hostname(), clock),
      store,
      events,
      clock,
      log,
    });
    closers.push(() => notifier.close());
    // DHCP comes last: a firmware that gets an address must find everything it asks for next.
    const dhcp = await startDhcp({
      config,
      leases,
      admission: learning,
      boot,
      neighbours,
      events: packetEvents,
      clock,
      log,
      ...(sightings && { sightings }),
    });
    closers.push(() => dhcp.close());
    metrics.dhcp.serve(dhcp.counts);
    learning.resume();
    closers.push(clock.every(offlineCheck, () => nodes.markOffline()));
    await jobs.start();
    const schedules = createSchedules({
      store,
      nodes,
      images: library,
      commands: config.commands,
      jobs,
      events,
      clock,
      log,
    });
    closers.push(() => schedules.close());
    schedules.start();

    const admin = await startAdmin({
      config,
      site,
      store,
      nodes,
      watching,
      leases,
      jobs,
      schedules,
      power,
      racks,
      learning,
      rules,
      library,
      windows,
      notifier,
      events,
      clock,
      log,
      metrics: metrics.registry,
    });
    closers.push(() => admin.close());
    log.info(
      {
        subnets: served.map(
          ({ subnet, address }) => `${subnet.cidr} on ${subnet.interface} (${address})`,
        ),
      },
      "server started",
    );
    return { setupCode: admin.setupCode, reload: () => services.reload(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs the server until `signal` aborts; what `marcoboot serve` calls. */
export async function serve(options: {
  readonly configPath: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { configPath, signal } = options;
  enableCompileCache();
  const config = readConfig(configPath);
  const manager = await openServiceManager(process.env, systemClock);
  const server = await startServer(config);
  // A disk that takes no more writes is no reason to end: the note of the last start is there.
  await noteSettings(config.stateDirectory, configPath).catch(() => undefined);
  // Nobody reads it, or its disk is full: no reason to end.
  process.stdout.on("error", () => undefined);
  if (server.setupCode !== undefined) process.stdout.write(`set-up code: ${server.setupCode}\n`);
  process.on("SIGHUP", server.reload);
  process.stdout.write("ready\n");
  manager.ready();
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  manager.stopping();
  await server.close();
}

function tellServices({ services, problems }: ServiceFiles, log: Log): void {
  for (const problem of problems) log.warn({ problem }, "service file left out");
  log.info({ services: services.map(({ id }) => id) }, "services offered by discovery");
}

function serveSubnet(config: Config, subnet: Subnet): Served {
  const address = interfaceAddress(subnet.interface);
  return {
    subnet,
    address,
    bootUrl: `http://${address}:${config.bootPort}`,
    agentUrl: `https://${address}:${config.agentPort}`,
  };
}

/** Where a node reaches the server, and the server it: on its own subnet. */
function reachableFrom(served: readonly Served[], address: Ipv4Address | undefined): Served {
  const own = served.find(({ subnet }) => address !== undefined && contains(subnet, address));
  const [first] = served;
  return own ?? first ?? fail();
}

function fail(): never {
  throw new ConfigurationError("no subnet is configured");
}

/** Images leave the plain boot listener only for a ticket of a running attempt. */
function imageSource(jobs: Jobs, library: Library): BootImages {
  return {
    open(digest, ticket) {
      const image = library.get(digest);
      if (!jobs.imageAllowed(ticket, digest)) {
        throw new ForbiddenError(`the ticket does not allow image ${digest}`);
      }
      if (!image) throw new NotFoundError(`no image ${digest}`);
      return { path: library.pathOf(digest), sizeBytes: image.storedBytes };
    },
  };
}

/** What the event tells of a client's firmware; `undefined` for a running OS or another device. */
function clientOf({ mac, firmware, serial, uuid }: EventOf<"heard">): BootClient | undefined {
  if (firmware === undefined) return undefined;
  return {
    mac,
    firmware,
    ipxe: isIpxe(firmware),
    architectures: [],
    ...(serial !== undefined && { serial }),
    ...(uuid !== undefined && { uuid }),
  };
}

function isIpxe(firmware: FirmwareName): boolean {
  return firmware.startsWith("ipxe-");
}
