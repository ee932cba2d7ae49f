/**
 * One simulated board: its station, its firmware's program, and what is told
 * about it afterwards. It never waits by itself: the simulation wakes it with a
 * frame or when its deadline has come.
 */

import type { MacAddress } from "#protocol/brand.ts";
import type { Firmware } from "./firmware/firmware.ts";
import type { Ending, Moment, Program, Step, StepKind } from "./program.ts";
import { Station } from "./station.ts";

export interface BoardSettings {
  /** 0 for the first one. */
  readonly index: number;
  readonly mac: MacAddress;
  /** Which machine has this hardware address: another one has another UUID. 0-255; default 0. */
  readonly machine?: number;
  readonly firmware: Firmware;
  readonly poweredAt: Moment;
  /** It ends without a boot after that time. */
  readonly timeoutMs: number;
  /** Instead of what the firmware does about ARP requests. */
  readonly answersArp?: "always" | "never";
  /** No file is opened twice at once, though the firmware would. */
  readonly opensOnce?: boolean;
  /** Content of a file is kept up to this size; what is longer is counted and dropped. */
  readonly keepOctets: number;
  /** 0 <= n < 1 */
  readonly random: () => number;
  readonly onStep?: (board: Board, step: Step) => void;
  readonly onFile?: (board: Board, name: string, content: Uint8Array) => void;
}

export interface FetchedFile {
  readonly name: string;
  readonly bytes: number;
  /** Of the content, 8 hexadecimal digits: boards with the same files have the same. */
  readonly crc32: string;
  readonly tookMs: number;
}

interface FileContent {
  readonly checksum: number;
  readonly content: Uint8Array;
}

export class Board {
  readonly settings: BoardSettings;
  readonly station: Station;
  readonly steps: Step[] = [];
  readonly files: FetchedFile[] = [];
  ending: Ending | undefined;
  endedAt: Moment = 0;
  /** When the program wants to be woken. */
  deadline: Moment;
  /** Source port of the last request. */
  lastPort = 0;
  /** File octets, repetitions not counted. */
  received = 0;
  /** Packets it sent again because nothing came. */
  repeated = 0;
  /** Blocks it heard a second time. */
  repetitionsHeard = 0;
  #program: Program<Ending> | undefined;

  constructor(settings: BoardSettings, transmit: (frame: Uint8Array) => void) {
    this.settings = settings;
    this.station = new Station(settings.mac, settings.firmware.station, transmit);
    if (settings.answersArp) this.station.answersArp = settings.answersArp;
    this.deadline = settings.poweredAt;
    this.lastPort = 49152 + Math.floor(settings.random() * 8192);
  }

  /** A frame for this board's hardware address, or for everyone. */
  hear(frame: Uint8Array, now: Moment): void {
    if (!this.#program || this.ending) return; // power is off, or it hangs
    this.station.now = now;
    const arrival = this.station.hear(frame);
    if (!arrival) return;
    this.#resume(this.#program.next(arrival), now);
  }

  /** Its deadline has come. */
  wake(now: Moment): void {
    if (this.ending) return;
    this.station.now = now;
    if (!this.#program) {
      this.note("power", `${this.settings.firmware.name} on`);
      this.#program = this.settings.firmware.boot(this);
      this.#resume(this.#program.next(), now);
    } else if (now - this.settings.poweredAt >= this.settings.timeoutMs) {
      this.end({ outcome: "failed", reason: this.#overdue() }, now);
    } else this.#resume(this.#program.next(undefined), now);
  }

  end(ending: Ending, now: Moment): void {
    if (this.ending) return;
    this.ending = ending;
    this.endedAt = now;
    this.deadline = Number.POSITIVE_INFINITY;
    this.note("end", ending.outcome === "booted" ? "booted" : ending.reason);
  }

  note(kind: StepKind, text: string): void {
    const step: Step = { atMs: Math.round(this.station.now - this.settings.poweredAt), kind, text };
    this.steps.push(step);
    this.settings.onStep?.(this, step);
  }

  /** @param content - as far as it was kept */
  fetched(name: string, file: Omit<FetchedFile, "name" | "crc32"> & FileContent): void {
    const { bytes, checksum, content } = file;
    const tookMs = Math.round(file.tookMs);
    const crc32 = checksum.toString(16).padStart(8, "0");
    this.files.push({ name, bytes, crc32, tookMs });
    if (content.length === bytes) this.settings.onFile?.(this, name, content);
    this.note("file", `${name}: ${bytes} octets in ${tookMs} ms`);
  }

  keeps(octets: number): boolean {
    return octets <= this.settings.keepOctets;
  }

  #resume(result: IteratorResult<Moment, Ending>, now: Moment): void {
    const latest = this.settings.poweredAt + this.settings.timeoutMs;
    if (result.done) this.end(result.value, now);
    else this.deadline = Math.min(result.value, latest);
  }

  #overdue(): string {
    const last = this.steps.at(-1);
    return `not booted in ${this.settings.timeoutMs / 1000} s; last: ${last?.text ?? "nothing"}`;
  }
}
