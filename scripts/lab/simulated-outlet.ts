/** The outlets of a simulated rack: one relay and the boards behind it, with the faults relays have. */

import { setTimeout as sleep } from "node:timers/promises";
import type { StripOutlet } from "./power-strip.ts";

export const outletFaults = ["stuck-on", "stuck-off", "inverted", "bouncing"] as const;
export type OutletFault = (typeof outletFaults)[number];

/** Of a relay whose contact bounces: how often it opens again, and for how long. */
const bounces = 3;
const bounceMs = 700;

export interface PoweredBoard {
  powerOn(): void;
  powerOff(): Promise<void>;
}

export class SimulatedOutlet implements StripOutlet {
  readonly #boards: readonly PoweredBoard[];
  readonly #fault: OutletFault | undefined;
  readonly #senses: boolean;
  #ordered: "on" | "off" = "off";
  #contact: "on" | "off" = "off";
  #last: Promise<void> = Promise.resolve();
  #unplugged = false;

  /** @param senses - asked for its state, it tells its contact's; else what it was ordered */
  constructor(boards: readonly PoweredBoard[], fault: OutletFault | undefined, senses: boolean) {
    this.#boards = boards;
    this.#fault = fault;
    this.#senses = senses;
  }

  get state(): "on" | "off" {
    return this.#senses ? this.#contact : this.#ordered;
  }

  /** Power comes to the strip: some relays are not off then. */
  async plugIn(): Promise<void> {
    await this.#follow("off");
  }

  /** Power goes from the strip: nothing behind this outlet runs any more, whatever its fault. */
  async unplug(): Promise<void> {
    this.#unplugged = true;
    await this.#last;
    await Promise.all(this.#boards.map((board) => board.powerOff()));
  }

  switchOn(): void {
    void this.#follow("on");
  }

  switchOff(): Promise<void> {
    return this.#follow("off");
  }

  #follow(ordered: "on" | "off"): Promise<void> {
    this.#ordered = ordered;
    this.#last = this.#last.then(() => this.#obey(ordered));
    return this.#last;
  }

  async #obey(ordered: "on" | "off"): Promise<void> {
    switch (this.#fault) {
      case "stuck-on":
        return await this.#put("on");
      case "stuck-off":
        return await this.#put("off");
      case "inverted":
        return await this.#put(ordered === "on" ? "off" : "on");
      case "bouncing":
        for (let count = 0; ordered === "on" && count < bounces; count++) {
          await this.#put("on");
          await sleep(bounceMs);
          await this.#put("off");
          await sleep(bounceMs);
        }
        return await this.#put(ordered);
      case undefined:
        return await this.#put(ordered);
    }
  }

  async #put(contact: "on" | "off"): Promise<void> {
    if (this.#unplugged) return;
    this.#contact = contact;
    if (contact === "off") await Promise.all(this.#boards.map((board) => board.powerOff()));
    else for (const board of this.#boards) board.powerOn();
  }
}
