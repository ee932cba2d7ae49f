/**
 * While a rack is being learned, who asks tells where it is: the board that is
 * expected gets its reservation, the other unknown ones have to wait. Implemented
 * by enrol/learning; the DHCP room only asks.
 */

import type { BootClient } from "../boot/client.ts";
import type { Subnet } from "../config.ts";
import type { Reservation } from "../store/store.ts";

export interface Admission {
  /**
   * Called for every DISCOVER, of known hardware addresses too. Synchronous; a
   * reservation is durable before the OFFER. `wait`: no answer for an unknown one.
   * `undefined`: not concerned, the pool decides.
   */
  heard(client: BootClient, subnet: Subnet): Reservation | "wait" | undefined;
}

/** For a server that is not learning. */
export const noAdmission: Admission = { heard: () => undefined };
