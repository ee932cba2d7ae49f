/** `marcoboot lease …` */

import { slotText } from "#protocol/node.ts";
import type { LeaseRow, Reservation } from "../../store/store.ts";
import { type Command, exitCodes } from "../command.ts";
import { type Page, timeText } from "../shapes.ts";

export const leaseCommands: readonly Command[] = [
  {
    noun: "lease",
    verb: "list",
    about: "addresses in use",
    positionals: [],
    options: {},
    examples: ["marcoboot lease list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/leases")) as Page<LeaseRow>;
      output.table(
        ["address", "mac", "state", "until"],
        items.map((lease) => [lease.address, lease.mac, lease.state, timeText(lease.until)]),
        items,
      );
      return exitCodes.done;
    },
  },
  {
    noun: "lease",
    verb: "reservations",
    about: "addresses that belong to a MAC address",
    positionals: [],
    options: {},
    examples: ["marcoboot lease reservations --json"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/reservations")) as Page<Reservation>;
      output.table(
        ["address", "mac", "hostname", "slot"],
        items.map(({ address, mac, hostname, slot }) => [
          address,
          mac,
          hostname,
          slot && slotText(slot),
        ]),
        items,
      );
      return exitCodes.done;
    },
  },
];
