/** What a firmware is to the simulator: one file each beside this one, listed in registry.ts. */

import type { MacAddress } from "#protocol/brand.ts";
import type { Board } from "../board.ts";
import type { Ending, Program } from "../program.ts";
import type { StationHabits } from "../station.ts";

export interface Firmware {
  /** The word of the command line. */
  readonly name: string;
  readonly about: string;
  /** Hardware address of the first board; the others count up. */
  readonly firstMac: MacAddress;
  readonly station: StationHabits;
  /** From power-on to the kernel, or to where it hangs. */
  boot(board: Board): Program<Ending>;
}
