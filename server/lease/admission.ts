/**
 * What happens when a hardware address asks that has no reservation: while a rack
 * is being learnt, the node whose outlet was just switched on gets one. Implemented
 * by enrol/sequence.ts; the DHCP room only asks.
 */

import type { BootClient } from "../boot/client.ts";
import type { Subnet } from "../config.ts";
import type { Reservation } from "../store/store.ts";

export interface Admission {
  /** Synchronous, durable, before the OFFER. `undefined`: not expected, the pool decides. */
  heard(client: BootClient, subnet: Subnet): Reservation | undefined;
}

/** For a server that is not learning. */
export const noAdmission: Admission = { heard: () => undefined };
