/**
 * Many agents in one process, as the server sees them: each with its certificate, its own
 * TLS connection, a check-in every 15 s and a long poll in between (netinst/agent.ts).
 * Runs in the namespace of the nodes and tells, a line of JSON each:
 *
 *   -> {"online":10000}                        whenever a thousand more have checked in
 *   -> {"lost":"agent 7: read ECONNRESET"}     it connects again
 *   -> {"assigned":"task_…","at":1234.5}       milliseconds since the epoch, when the order arrived
 *
 *   node load-agents.ts <seed.json> <agent URL>
 */

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createSecureContext, type TLSSocket, connect as tlsConnect } from "node:tls";
import type { Assignment, CheckIn, SignedAssignment } from "#protocol/agent.ts";

export interface Seed {
  readonly authorityPem: string;
  /** One key for all: their certificates tell them apart. */
  readonly keyPem: string;
  readonly nodes: readonly { readonly name: string; readonly certificate: string }[];
}

/** As the real agent: netinst/agent.ts. */
const checkInMs = 15_000;
const handshakesAtOnce = 50;

const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** One HTTP/1.1 connection that sends one request at a time: `fetch` would cost ten times the memory. */
class Line {
  readonly #socket: TLSSocket;
  #answer: ((text: string | Error) => void) | undefined;
  #text = "";

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (part: string) => {
      this.#text += part;
      this.#look();
    });
    socket.on("error", (error) => this.#answer?.(error));
    socket.on("close", () => this.#answer?.(new Error("the server closed the connection")));
  }

  #look(): void {
    const end = this.#text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#text.slice(0, end))?.[1] ?? "0";
    const whole = end + 4 + Number(length);
    if (this.#text.length < whole) return;
    const answer = this.#text.slice(0, whole);
    this.#text = this.#text.slice(whole);
    this.#answer?.(answer);
  }

  /** The body as JSON; undefined for 204. */
  request(method: string, path: string, body?: unknown): Promise<unknown> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const head = `${method} ${path} HTTP/1.1\r\nHost: server\r\nContent-Type: application/json\r\n`;
    return new Promise((resolve, reject) => {
      this.#answer = (answer) => {
        this.#answer = undefined;
        if (typeof answer !== "string") return reject(answer);
        const status = Number(answer.slice(9, 12));
        if (status === 204) return resolve(undefined);
        const json = answer.slice(answer.indexOf("\r\n\r\n") + 4);
        if (status !== 200) return reject(new Error(`${method} ${path}: ${status} ${json}`));
        resolve(JSON.parse(json));
      };
      this.#socket.write(`${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
    });
  }
}

const onlineNow = new Set<number>();

async function live(seed: Seed, url: URL, index: number, connected: () => void): Promise<void> {
  const { name, certificate } = seed.nodes[index] ?? { name: "", certificate: "" };
  const secureContext = createSecureContext({
    ca: seed.authorityPem,
    key: seed.keyPem,
    cert: certificate,
    minVersion: "TLSv1.3",
  });
  const socket = tlsConnect({ host: url.hostname, port: Number(url.port), secureContext });
  await new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  const line = new Line(socket);
  let boot = 1;
  let known = "";
  const checkIn = () =>
    line.request("POST", "/agent/v1/check-in", {
      role: "resident",
      version: "load",
      bootId: `boot-${boot}`,
      hostname: name,
      uptimeSeconds: 1,
      usedMemoryMiB: 64,
      ...(boot === 1 && {
        hardware: { model: "simulated", cpus: 4, memoryMiB: 4096, disks: [], interfaces: [] },
      }),
    } satisfies CheckIn);
  await checkIn();
  onlineNow.add(index);
  const online = onlineNow.size;
  if (online % 1000 === 0 || online === seed.nodes.length) say({ online });
  connected();
  // Not all at the same moment: a rack's agents start when their nodes do.
  let due = performance.now() + Math.random() * checkInMs;
  for (;;) {
    const left = due - performance.now();
    if (left <= 0) {
      await checkIn();
      due = performance.now() + checkInMs;
      continue;
    }
    const wait = Math.max(1, Math.round(left / 1000));
    const signed = (await line.request(
      "GET",
      `/agent/v1/assignment?wait=${wait}${known === "" ? "" : `&known=${known}`}`,
    )) as SignedAssignment | undefined;
    if (!signed) continue;
    const assignment = JSON.parse(signed.assignment) as Assignment;
    say({ assigned: assignment.taskId, at: performance.timeOrigin + performance.now() });
    known = encodeURIComponent(`${assignment.taskId}:${assignment.epoch}:${assignment.action}`);
    boot += 1; // it obeys at once
    await checkIn();
    due = performance.now() + checkInMs;
  }
}

/** A lost connection is made again, as the real agent does. */
async function liveAgain(seed: Seed, url: URL, index: number, begin: () => void): Promise<void> {
  let first = true;
  const connected = () => {
    if (first) begin();
    first = false;
  };
  for (;;) {
    await live(seed, url, index, connected).catch((error: unknown) => {
      onlineNow.delete(index);
      say({ lost: `agent ${index}: ${String(error)}` });
    });
    await sleep(1000 + Math.random() * 4000);
  }
}

if (import.meta.main) {
  const [seedPath = "", url = ""] = process.argv.slice(2);
  const seed = JSON.parse(readFileSync(seedPath, "utf8")) as Seed;
  let next = 0;
  const begin = (): void => {
    if (next === seed.nodes.length) return;
    void liveAgain(seed, new URL(url), next++, begin);
  };
  for (let count = 0; count < handshakesAtOnce; count++) begin();
}
