/**
 * Where log lines go: standard error, which a full disk or a reader that is gone must not let the
 * server die of or wait for. Lines it does not take are counted and the number is told once it
 * takes lines again.
 */

import { writeSync } from "node:fs";
import { systemClock } from "./clock.ts";

export interface LogDestination {
  write(line: string): void;
}

/** A pipe that is full is waited for that often, so long. */
const patience = { times: 10, milliseconds: 10 };

/** @param writeSome - writes to standard error; gives the octets that were taken, or throws */
export function createLogDestination(
  writeSome: (octets: Buffer) => number = (octets) => writeSync(2, octets),
): LogDestination {
  let lost = 0;

  const write = (line: string): void => {
    let octets = Buffer.from(line);
    // Nobody waits a second time for a reader that did not come the first time.
    let waits = lost > 0 ? 0 : patience.times;
    while (octets.length > 0) {
      try {
        octets = octets.subarray(writeSome(octets));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || waits === 0) throw error;
        waits -= 1;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, patience.milliseconds);
      }
    }
  };

  return {
    write(line) {
      try {
        if (lost > 0) {
          const note = { level: 40, time: systemClock.now(), lost, msg: "log lines were lost" };
          write(`\n${JSON.stringify(note)}\n`); // ends a line that was cut
          lost = 0;
        }
        write(line);
      } catch {
        lost += 1;
      }
    },
  };
}
