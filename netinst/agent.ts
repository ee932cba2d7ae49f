/**
 * The agent's life: find the server, prove who we are, check in, and do what is assigned.
 *
 *   discover -> (enrol) -> check in -> beat until called -> ask for the assignment -> act -> report
 *
 * Where beats are not answered, it checks in every 15 s and asks by long polls in between.
 * Whatever breaks, it starts again from discovery with growing delay. An assignment is taken only
 * with the pinned key's signature, for this node, and never an older attempt than one seen.
 */

import { hostname, uptime } from "node:os";
import type { SignedAssignment } from "#protocol/agent.ts";
import {
  type Assignment,
  agentVersion,
  type BurnInAssignment,
  type CaptureAssignment,
  type CheckIn,
  type CheckInAnswer,
  type IdentifyAssignment,
  type InstallAssignment,
  type PowerAssignment,
  type RunAssignment,
  type UpdateAssignment,
} from "#protocol/agent.ts";
import type { HeartbeatOffer } from "#protocol/heartbeat.ts";
import type { AgentProgram } from "#protocol/node.ts";
import { linksOf } from "../server/discovery/shared/sockets.ts";
import { correctClock } from "./clock.ts";
import { type ClientCredential, type Connection, connect, type Downloader } from "./connection.ts";
import type { Console } from "./console.ts";
import { discover } from "./discover.ts";
import {
  type EnrolContext,
  enrol,
  enrolOnce,
  forgetIdentity,
  loadIdentity,
  renew,
  saveIdentity,
} from "./enrol.ts";
import {
  AgentError,
  AttemptEndedError,
  CancelledError,
  NetworkError,
  ProblemError,
  reasonOf,
  UntrustedError,
} from "./errors.ts";
import { takeInventory, usedMemoryMiB } from "./hardware.ts";
import { type Heartbeat, startHeartbeat } from "./heartbeat.ts";
import { listenToSwitches, type SwitchListener, tellSwitchPorts } from "./lldp-listener.ts";
import { createLoadMeter, reportLoad } from "./load.ts";
import { keepAuthority } from "./polo.ts";
import { type Reporter, startReporter } from "./report.ts";
import { fetchProgram, keepProgram, ownProgram } from "./self-update.ts";
import type { Settings } from "./settings.ts";
import { burnIn } from "./steps/burn-in.ts";
import { capture } from "./steps/capture.ts";
import { confirmSystem } from "./steps/confirm.ts";
import { copyFile } from "./steps/copy.ts";
import { noSigns, showWhich, signsOfMachine } from "./steps/identify.ts";
import { type InstallContext, type Installed, updateNode } from "./steps/install.ts";
import { readSystem } from "./steps/installed-system.ts";
import type { Power } from "./steps/power.ts";
import { runProgram } from "./steps/run.ts";
import { openAssignment, type PinnedKey, pinKey } from "./trust.ts";
import { backOff, sleep } from "./wait.ts";

export interface AgentContext {
  readonly settings: Settings;
  readonly console: Console;
  readonly power: Power;
  readonly install: (context: InstallContext, signal: AbortSignal) => Promise<Installed>;
  /** Hears what switches say of their ports (LLDP), and tells it. Default: not. */
  readonly listenToSwitches?: boolean;
  /** Ends this process; whoever started it starts the program that was fetched. */
  readonly restart?: () => void;
  /** First delay of discovery and of retries; tests make it short. Default 1000. */
  readonly paceMs?: number;
}

interface Server {
  readonly url: string;
  readonly bootUrl: string;
  readonly authority: string;
}

/** What outlives a connection. */
interface Memory {
  /** Highest attempt seen per task. */
  readonly epochs: Map<string, number>;
  /** `<task>:<epoch>:<action>` of the last assignment taken: the server holds it back from then on. */
  known: string | undefined;
  heardAt: number;
  /** When the server last refused to enrol this node. */
  refusedAt: number;
  /** The connection of the moment. */
  connection: Connection | undefined;
  /** The assignment at work: it outlives a lost connection (downloads and reports try again). */
  acting: Promise<void> | undefined;
  /** What this process runs of, where it can be replaced. */
  readonly program: AgentProgram | undefined;
  /** It has not called yet: the one before waits. */
  isOnTrial: boolean;
  /** When the server first said that this netinst may leave. */
  leavingSince: number | undefined;
  /** Somebody looks at this node: its load is being told. */
  telling: Promise<void> | undefined;
}

const longPollSeconds = 25;
/** Whoever is refused asks again within four minutes (enrol.ts). */
const refusalMs = 5 * 60_000;
/** Between two check-ins while beats are answered: they say all but what changes with a boot. */
const restfulCheckInMs = 15 * 60_000;

/** Runs until `signal` aborts. */
export async function runAgent(context: AgentContext, signal: AbortSignal): Promise<void> {
  const { settings, console } = context;
  const key = pinKey(settings.site.serverKey);
  const memory: Memory = {
    epochs: new Map(),
    known: undefined,
    heardAt: performance.now(),
    refusedAt: Number.NEGATIVE_INFINITY,
    connection: undefined,
    acting: undefined,
    telling: undefined,
    leavingSince: undefined,
    program: settings.home && (await ownProgram(settings.home)),
    isOnTrial: settings.home?.isTrial ?? false,
  };
  const switches = context.listenToSwitches
    ? await listenToSwitches(settings.interface, console)
    : undefined;
  const watch = settings.role === "netinst" ? watchSilence(context, memory, signal) : undefined;
  console.info(
    `${settings.role} agent ${agentVersion} on ${settings.interface} (${settings.mac}), trusting key ${key.id}`,
  );
  for (let failures = 0; !signal.aborted; ) {
    const before = memory.heardAt;
    try {
      await serve(context, key, { memory, switches }, signal);
    } catch (error) {
      if (signal.aborted) break;
      console.warn(`connection to the server: ${reasonOf(error)}`);
    }
    failures = memory.heardAt > before ? 0 : failures + 1;
    await sleep(backOff(failures, context.paceMs ?? 1000, 30_000), signal);
  }
  await watch;
  switches?.close();
}

/** One stay with one server; returns or throws when it is lost. */
async function serve(
  context: AgentContext,
  key: PinnedKey,
  { memory, switches }: { readonly memory: Memory; readonly switches: SwitchListener | undefined },
  signal: AbortSignal,
): Promise<void> {
  const { settings, console } = context;
  const server = await findServer(context, key, signal);
  const identity = await identify(context, key, { server, memory }, signal);
  keepAuthority(settings.identityDirectory, server.authority, console);
  const connection = connect(server.url, server.authority, identity);
  const lost = new AbortController();
  const here = AbortSignal.any([signal, lost.signal]);
  try {
    const who = { connection, program: memory.program };
    const answer = await introduce(context, key, server, who, here);
    memory.heardAt = performance.now();
    memory.connection = connection;
    console.info(`checked in at ${server.url} as ${answer.name}`);
    const isOwnClock = settings.role === "netinst" && process.getuid?.() === 0;
    if (isOwnClock && !settings.simulate) await correctClock(answer.now, console);
    const duty = { ...context, key, memory, server, identity, connection, nodeId: answer.nodeId };
    if (settings.home && memory.isOnTrial) {
      await keepProgram(settings.home);
      memory.isOnTrial = false;
      console.info("this program of the agent has called: it is the one from now on");
    }
    if (await isToBeginAnew(duty, answer, here)) return;
    if (switches) void tellSwitchPorts(switches, { connection, console }, here);
    using heartbeat = answer.heartbeat && heartbeatOf(duty, answer.heartbeat, here);
    await beOfService({ ...duty, heartbeat }, answer.checkInSeconds * 1000, here, signal);
  } finally {
    lost.abort();
    connection.close();
  }
}

/**
 * The first check-in. A server that does not know our certificate any more wants a new enrolment:
 * netinst has a token for it, an installed OS asks an admin and keeps what it has meanwhile.
 */
async function introduce(
  context: AgentContext,
  key: PinnedKey,
  server: Server,
  who: CheckingIn,
  signal: AbortSignal,
): Promise<CheckInAnswer> {
  try {
    return await checkIn(context, who, true, signal);
  } catch (error) {
    const unknown = error instanceof ProblemError && (error.status === 401 || error.status === 403);
    const { identityDirectory, role } = context.settings;
    if (unknown && role === "netinst") forgetIdentity(identityDirectory);
    if (unknown && role === "resident") {
      const ask = (asking: EnrolContext) => enrolOnce(asking, undefined, signal);
      saveIdentity(identityDirectory, await asStranger(context, key, server, ask));
    }
    throw error;
  }
}

async function findServer(
  context: AgentContext,
  key: PinnedKey,
  signal: AbortSignal,
): Promise<Server> {
  const { settings, console } = context;
  if (settings.server !== undefined) {
    return { ...settings.server, bootUrl: settings.bootUrl ?? settings.server.url };
  }
  const links = linksOf(settings.interface, settings.address);
  if (!links.some(({ family }) => family === 4)) {
    throw new NetworkError(`interface ${settings.interface} has no IPv4 address`);
  }
  const alsoAsk = settings.bootUrl === undefined ? undefined : new URL(settings.bootUrl).hostname;
  return await discover(
    {
      key,
      group: settings.site.discovery.group,
      port: settings.site.discovery.port,
      links,
      console,
      ...(alsoAsk === undefined ? {} : { alsoAsk }),
      ...(context.paceMs === undefined ? {} : { firstDelayMs: context.paceMs }),
    },
    signal,
  );
}

async function identify(
  context: AgentContext,
  key: PinnedKey,
  { server, memory }: { readonly server: Server; readonly memory: Memory },
  signal: AbortSignal,
): Promise<ClientCredential> {
  const { identityDirectory } = context.settings;
  const stored = loadIdentity(identityDirectory);
  if (stored !== undefined) return stored;
  const onRefused = () => {
    memory.refusedAt = performance.now();
  };
  const identity = await asStranger(context, key, server, (asking) =>
    enrol({ ...asking, onRefused }, signal),
  );
  saveIdentity(identityDirectory, identity);
  return identity;
}

/** Runs `work` with a connection that shows no certificate. */
async function asStranger<T>(
  { settings, console }: AgentContext,
  key: PinnedKey,
  server: Server,
  work: (context: EnrolContext) => Promise<T>,
): Promise<T> {
  const connection = connect(server.url, server.authority);
  try {
    const hardware = await takeInventory("/sys", settings.diskFile);
    return await work({ settings, key, hardware, connection, console });
  } finally {
    connection.close();
  }
}

/**
 * True when there is another certificate: the connection is to be made anew with it. Not while an
 * install runs, which copies the present one to the disk.
 */
async function renewIfDue(
  duty: Pick<Duty, "settings" | "console" | "key" | "memory" | "connection">,
  answer: CheckInAnswer,
  signal: AbortSignal,
): Promise<boolean> {
  if (answer.renew !== true || duty.memory.acting !== undefined) return false;
  try {
    const identity = await renew(duty.key, duty.connection, signal);
    saveIdentity(duty.settings.identityDirectory, identity);
    duty.console.info("the certificate of this node was renewed");
    return true;
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    duty.console.warn(`the certificate was not renewed: ${reasonOf(error)}`);
    return false;
  }
}

interface CheckingIn {
  readonly connection: Connection;
  /** What this process runs of, where it can be replaced. */
  readonly program: AgentProgram | undefined;
}

/** Twice, some seconds apart: a job may just be on its way. */
async function leaveIfTold(
  { settings, console, memory, power, paceMs = 1000 }: Omit<Duty, "heartbeat">,
  { leave }: CheckInAnswer,
  signal: AbortSignal,
): Promise<void> {
  if (!leave || settings.role !== "netinst" || memory.acting !== undefined) {
    memory.leavingSince = undefined;
    return;
  }
  memory.leavingSince ??= performance.now();
  if (performance.now() - memory.leavingSince < 10 * paceMs) return;
  console.warn("there is nothing to do here: restarting into the system on the disk");
  await power("reboot", 0, signal);
}

/** With another certificate, or as another program. */
async function isToBeginAnew(
  duty: Omit<Duty, "heartbeat">,
  answer: CheckInAnswer,
  signal: AbortSignal,
): Promise<boolean> {
  await leaveIfTold(duty, answer, signal);
  return (await renewIfDue(duty, answer, signal)) || (await updateIfTold(duty, answer, signal));
}

/** True when the agent ends, to be started as another. Never while it does something. */
async function updateIfTold(
  { settings, console, memory, connection, restart }: Omit<Duty, "heartbeat">,
  { update }: CheckInAnswer,
  signal: AbortSignal,
): Promise<boolean> {
  if (update === undefined || settings.home === undefined) return false;
  if (memory.acting !== undefined) return false;
  try {
    console.info(`fetching the agent ${update.digest.slice(0, 12)}, ${update.sizeBytes} bytes`);
    await fetchProgram(settings.home, update, connection, signal);
  } catch (error) {
    console.warn(`the agent was not updated: ${reasonOf(error)}`);
    return false;
  }
  console.info("starting the new agent");
  restart?.();
  return true;
}

async function checkIn(
  { settings }: AgentContext,
  { connection, program }: CheckingIn,
  withHardware: boolean,
  signal: AbortSignal,
): Promise<CheckInAnswer> {
  const system = settings.role === "resident" ? readSystem(settings.identityDirectory) : undefined;
  const body: CheckIn = {
    role: settings.role,
    version: agentVersion,
    bootId: settings.bootId,
    hostname: hostname(),
    uptimeSeconds: Math.round(uptime()),
    usedMemoryMiB: usedMemoryMiB(),
    ...(system && { system }),
    ...(program && { program }),
    ...(withHardware ? { hardware: await takeInventory("/sys", settings.diskFile) } : {}),
  };
  return (await connection.post("/agent/v1/check-in", body, signal)) as CheckInAnswer;
}

/** Begins to tell how busy this machine is, unless it does already. */
function tellLoad(duty: Omit<Duty, "heartbeat">, here: AbortSignal): void {
  const { memory, settings, connection } = duty;
  memory.telling ??= reportLoad(connection, createLoadMeter(settings.interface), here)
    .catch(() => undefined) // whoever looks asks for it again
    .finally(() => {
      memory.telling = undefined;
    });
}

function heartbeatOf(
  duty: Omit<Duty, "heartbeat">,
  offer: HeartbeatOffer,
  here: AbortSignal,
): Heartbeat {
  const { memory, server, nodeId } = duty;
  return startHeartbeat(
    {
      host: new URL(server.url).hostname,
      nodeId,
      having: () => memory.known,
      onHeard: () => {
        memory.heardAt = performance.now();
      },
      onWatched: () => tellLoad(duty, here),
    },
    offer,
  );
}

interface Duty extends AgentContext {
  readonly key: PinnedKey;
  readonly memory: Memory;
  readonly server: Server;
  readonly identity: ClientCredential;
  readonly connection: Connection & Downloader;
  readonly nodeId: string;
  /** Undefined: the server knows of none. */
  readonly heartbeat: Heartbeat | undefined;
}

/**
 * Checks in when it is time and does what it is called for in between, one request at a time.
 * Without beats a node holds one connection, with them none. Returns when three check-ins in a
 * row were lost.
 *
 * @param here - this connection; `signal` - the whole life of the agent
 */
async function beOfService(
  duty: Duty,
  periodMs: number,
  here: AbortSignal,
  signal: AbortSignal,
): Promise<void> {
  const { memory, connection, heartbeat } = duty;
  const restfulMs = restfulCheckInMs * (1 - Math.random() / 5);
  let begun = performance.now();
  for (let failures = 0; failures < 3 && !here.aborted; ) {
    const isRestful = heartbeat?.isHeard && !heartbeat.mustCheckIn && failures === 0;
    const left = begun + (isRestful ? restfulMs : periodMs) - performance.now();
    if (left > 0) {
      await followAssignments(duty, left, periodMs, here, signal);
      continue;
    }
    try {
      const who = { connection, program: memory.program };
      const answer = await checkIn(duty, who, false, here);
      memory.heardAt = performance.now();
      failures = 0;
      begun = memory.heardAt;
      if (await isToBeginAnew(duty, answer, here)) return;
      if (answer.heartbeat) heartbeat?.renew(answer.heartbeat);
      if (answer.isWatched) tellLoad(duty, here);
    } catch (error) {
      if (error instanceof ProblemError && !error.retryable) throw error;
      failures++;
      begun = performance.now() + Math.min(periodMs, 3000) - periodMs;
    }
  }
}

/**
 * Waits for one assignment and begins it, for at most `limitMs`; while one is at work, waits for
 * its end, for at most `periodMs`.
 */
async function followAssignments(
  duty: Duty,
  limitMs: number,
  periodMs: number,
  here: AbortSignal,
  signal: AbortSignal,
): Promise<void> {
  const { memory, console, connection, heartbeat } = duty;
  if (memory.acting !== undefined) {
    const over = new AbortController();
    const time = sleep(Math.min(limitMs, periodMs), AbortSignal.any([here, over.signal]));
    await Promise.race([memory.acting, time]);
    over.abort();
    return;
  }
  let waitMs = limitMs;
  if (heartbeat?.isHeard) {
    connection.rest();
    heartbeat.beat();
    if (!(await heartbeat.called(limitMs, here))) return;
    waitMs = 0;
  }
  const assignment = await nextAssignment(duty, waitMs, here);
  if (assignment === undefined) return;
  const refusal = whyDropped(assignment, duty.nodeId, memory);
  if (refusal !== undefined) {
    console.warn(`assignment dropped: ${refusal}`);
    await sleep(duty.paceMs ?? 1000, here);
    return;
  }
  memory.known = nameOf(assignment);
  memory.epochs.set(assignment.taskId, assignment.epoch);
  heartbeat?.beat(); // it is not called for this one any more
  memory.acting = act(duty, assignment, signal).finally(() => {
    memory.acting = undefined;
  });
}

function nameOf(assignment: Assignment): string {
  return `${assignment.taskId}:${assignment.epoch}:${assignment.action}`;
}

/** Undefined when the assignment is to be carried out. */
export function whyDropped(
  assignment: Assignment,
  nodeId: string,
  memory: { readonly epochs: ReadonlyMap<string, number>; readonly known: string | undefined },
): string | undefined {
  if (assignment.nodeId !== nodeId) return `it is for ${assignment.nodeId}, we are ${nodeId}`;
  if (nameOf(assignment) === memory.known) return `${memory.known} was taken already`;
  const seen = memory.epochs.get(assignment.taskId) ?? 0;
  return assignment.epoch < seen
    ? `attempt ${assignment.epoch} of ${assignment.taskId} is older than attempt ${seen}`
    : undefined;
}

async function nextAssignment(
  duty: Duty,
  limitMs: number,
  signal: AbortSignal,
): Promise<Assignment | undefined> {
  const waitSeconds = Math.min(longPollSeconds, Math.ceil(limitMs / 1000));
  const known =
    duty.memory.known === undefined ? "" : `&known=${encodeURIComponent(duty.memory.known)}`;
  const path = `/agent/v1/assignment?wait=${waitSeconds}${known}`;
  const signed = await duty.connection.get(path, (waitSeconds + 15) * 1000, signal);
  duty.memory.heardAt = performance.now();
  if (signed === undefined) return undefined;
  try {
    return openAssignment(duty.key, signed as SignedAssignment);
  } catch (error) {
    if (!(error instanceof UntrustedError || error instanceof SyntaxError)) throw error;
    duty.console.warn(`assignment refused: ${reasonOf(error)}`);
    await sleep(10 * (duty.paceMs ?? 1000), signal); // it would come again at once
    return undefined;
  }
}

async function act(duty: Duty, assignment: Assignment, signal: AbortSignal): Promise<void> {
  const { console } = duty;
  const reporter = startReporter(
    {
      assignment,
      bootId: duty.settings.bootId,
      connection: () => duty.memory.connection ?? duty.connection,
      console,
      ...(duty.paceMs === undefined ? {} : { intervalMs: duty.paceMs }),
    },
    signal,
  );
  try {
    await carryOut(duty, assignment, reporter, AbortSignal.any([signal, reporter.ended]));
  } catch (error) {
    if (signal.aborted) return;
    if (reporter.ended.aborted || error instanceof AttemptEndedError) {
      console.warn(`${assignment.action} stopped: ${reasonOf(reporter.ended.reason ?? error)}`);
      return;
    }
    console.warn(`${assignment.action} failed: ${reasonOf(error)}`);
    await reporter.failed(reasonOf(error), error instanceof AgentError && error.retryable);
  } finally {
    reporter.close();
  }
}

/** Does what is asked, and reports its end. */
async function carryOut(
  duty: Duty,
  assignment: Assignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  switch (assignment.action) {
    case "install":
      return await installSystem(duty, assignment, reporter, signal);
    case "update":
      return await updateSystem(duty, assignment, reporter, signal);
    case "confirm": {
      if (duty.settings.role !== "resident") throw new AgentError("netinst is not what boots here");
      reporter.progress("confirming", 0);
      await confirmSystem(duty.settings);
      return await reporter.done("confirming");
    }
    case "inventory": {
      reporter.progress("reading-hardware", 0);
      const hardware = await takeInventory("/sys", duty.settings.diskFile);
      return await reporter.done("reading-hardware", { hardware });
    }
    case "burn-in":
      return await testMachine(duty, assignment, reporter, signal);
    case "identify":
      return await identifyMachine(duty, assignment, reporter, signal);
    case "run":
      return await runCommand(duty, assignment, reporter, signal);
    case "copy": {
      if (duty.settings.role !== "resident") throw new AgentError("netinst keeps no files");
      const { console, server } = duty;
      await copyFile({ assignment, reporter, console, bootUrl: server.bootUrl }, signal);
      return await reporter.done("copying");
    }
    case "capture":
      return await captureSystem(duty, assignment, reporter, signal);
    case "reboot":
    case "shutdown":
      return await endBoot(duty, assignment, reporter, signal);
  }
}

async function installSystem(
  duty: Duty,
  assignment: InstallAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { server, settings, identity, console } = duty;
  if (settings.role !== "netinst") {
    throw new AgentError("an installed OS does not overwrite itself");
  }
  const installed = await duty.install(
    { settings, assignment, reporter, console, bootUrl: server.bootUrl, identity },
    signal,
  );
  console.info("installed; waiting to be restarted");
  await reporter.done("committing", installed);
}

async function captureSystem(
  duty: Duty,
  assignment: CaptureAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { settings, console, memory } = duty;
  if (settings.role !== "netinst") throw new AgentError("a system in use is not copied");
  const connection = () => memory.connection ?? duty.connection;
  await asGuest(duty, assignment, reporter, signal, async () => {
    await capture({ settings, assignment, reporter, console, connection }, signal);
    await reporter.done("sending");
  });
}

async function updateSystem(
  duty: Duty,
  assignment: UpdateAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { server, settings, identity, console } = duty;
  if (settings.role !== "netinst") throw new AgentError("a system in use does not replace itself");
  await asGuest(duty, assignment, reporter, signal, async () => {
    const { bootUrl } = server;
    await updateNode({ settings, assignment, reporter, console, bootUrl, identity }, signal);
    console.info("updated; waiting to be restarted");
    await reporter.done("committing");
  });
}

/** The node's own system waits for the work: where no other attempt follows, the machine is given back. */
async function asGuest(
  { console, power }: Duty,
  { action, isLast }: CaptureAssignment | UpdateAssignment,
  reporter: Reporter,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { ended } = reporter;
    if (signal.aborted && !ended.aborted) throw error; // the agent itself ends
    const retryable = error instanceof AgentError && error.retryable;
    console.warn(`${action}: ${reasonOf(ended.aborted ? ended.reason : error)}`);
    if (!ended.aborted) await reporter.failed(reasonOf(error), retryable);
    const isFollowed = ended.aborted ? !(ended.reason instanceof CancelledError) : retryable;
    if (isFollowed && !isLast) return;
    console.warn("restarting into the system on the disk");
    await power("reboot", 0, new AbortController().signal);
  }
}

async function endBoot(
  duty: Duty,
  { action, warnSeconds }: PowerAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const stage = action === "reboot" ? "rebooting" : "powering-off";
  const pace = 2 * (duty.paceMs ?? 1000);
  const tell = () => reporter.progress(warnSeconds > 0 ? "requested" : stage, 0);
  tell();
  await sleep(pace, signal); // the report and its answer go out first
  signal.throwIfAborted();
  duty.console.warn(`${action} ordered by the server`);
  await tellWhile(duty.power(action, warnSeconds, signal), tell, pace);
}

async function testMachine(
  { settings, console }: Duty,
  assignment: BurnInAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { seconds } = assignment;
  if (settings.role !== "netinst")
    throw new AgentError("an installed OS is in use: it is not tested");
  const progress = (percent: number) => reporter.progress("testing", percent);
  const { diskFile } = settings;
  const context = { assignment, console, progress, ...(diskFile !== undefined && { diskFile }) };
  const results = await burnIn(context, signal);
  const told = { burnIn: { seconds, results } };
  const faults = results.filter(({ passed }) => !passed);
  if (faults.length === 0) return await reporter.done("testing", told);
  const reason = faults.map(({ part, text }) => `${part}: ${text}`).join("; ");
  await reporter.failed(reason, false, told);
}

async function runCommand(
  { settings, console, paceMs }: Duty,
  assignment: RunAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  if (settings.role !== "resident") throw new AgentError("netinst runs no commands");
  const tell = () => reporter.progress("executing", 0);
  const running = runProgram(assignment, (line) => console.info(line), signal);
  const reason = await tellWhile(running, tell, paceMs ?? 1000);
  signal.throwIfAborted();
  if (reason === undefined) return await reporter.done("executing");
  await reporter.failed(reason, false);
}

async function identifyMachine(
  { settings, console, paceMs }: Duty,
  { name, seconds }: IdentifyAssignment,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const begun = performance.now();
  const percent = () => (performance.now() - begun) / (seconds * 10);
  const tell = () => reporter.progress("showing", percent());
  const signs = settings.simulate ? noSigns : signsOfMachine;
  const showing = showWhich(name, seconds, (line) => console.info(line), signal, signs);
  await tellWhile(showing, tell, paceMs ?? 1000);
  signal.throwIfAborted();
  await reporter.done("showing");
}

/** While something takes its time: the answer to a report is how a cancellation arrives. */
async function tellWhile<T>(work: Promise<T>, tell: () => void, everyMs: number): Promise<T> {
  const over = new AbortController();
  const telling = (async () => {
    for (; !over.signal.aborted; await sleep(everyMs, over.signal)) tell();
  })();
  try {
    return await work;
  } finally {
    over.abort();
    await telling;
  }
}

/** Restarts a netinst that nobody talks to: the next boot may find what this one does not. */
async function watchSilence(
  context: AgentContext,
  memory: Memory,
  signal: AbortSignal,
): Promise<void> {
  const { settings, console } = context;
  while (!signal.aborted) {
    const left = memory.heardAt + settings.unreachableMs - performance.now();
    if (left <= 0) {
      const seconds = settings.unreachableMs / 1000;
      const isRefused = performance.now() - memory.refusedAt < refusalMs;
      console.warn(
        isRefused
          ? `nobody approved this node for ${seconds} s: restarting, to ask with another code`
          : `no server for ${seconds} s: restarting`,
      );
      await context.power("reboot", 0, signal);
      return;
    }
    await sleep(left, signal);
  }
}
