import test from "ava";
import { UnavailableError } from "../../server/errors.ts";
import { createNeighbours, encodeEntry, type NeighbourTable } from "../../server/net/neighbours.ts";
import { ip, mac } from "../support/network.ts";

const first = {
  address: ip("10.77.0.10"),
  mac: mac("52:54:00:00:00:01"),
  interfaceName: "lan0",
} as const;
const second = { ...first, address: ip("10.77.0.11"), mac: mac("52:54:00:00:00:02") } as const;

/** A table that takes what `answers` allows: 0, or an errno; `lan0` is interface 7. */
function table(answers: number[] = []) {
  const entries: string[] = [];
  const made: NeighbourTable = {
    write(entry) {
      const answer = answers.shift() ?? 0;
      if (answer === 0) entries.push(entry.toHex());
      return answer;
    },
    interfaceIndex: (name) => (name === "lan0" ? 7 : 0),
    close: () => undefined,
  };
  return { entries, open: async () => made };
}

// rtnetlink(7): RTM_NEWNEIGH, request|ack|replace|create, AF_INET, interface 7, NUD_PERMANENT.
test("the kernel's message for an entry", (t) => {
  t.is(
    encodeEntry(first, 7).toHex(),
    [
      "30000000 1c00 0505 00000000 00000000",
      "02 00 0000 07000000 8000 00 00",
      "0800 0100 0a4d000a",
      "0a00 0200 525400000001 0000",
    ]
      .join("")
      .replaceAll(" ", ""),
  );
});

test("an entry that cannot be written is told with its reason, and the next call works", async (t) => {
  const { entries, open } = table([1]);
  const neighbours = await createNeighbours(open);
  t.throws(() => neighbours.set(first), {
    instanceOf: UnavailableError,
    message:
      "neighbour entry 10.77.0.10 52:54:00:00:00:01 on lan0 could not be written: not permitted (CAP_NET_ADMIN)",
  });
  neighbours.set(first);
  t.is(entries.length, 1);
});

test("an interface that is gone is told", async (t) => {
  const neighbours = await createNeighbours(table().open);
  t.throws(() => neighbours.set({ ...first, interfaceName: "lan1" }), {
    instanceOf: UnavailableError,
    message: /no such interface/,
  });
});

test("of many entries, one that fails does not keep the others back", async (t) => {
  const { entries, open } = table([105]);
  const neighbours = await createNeighbours(open);
  t.throws(() => neighbours.setAll([first, second]), { message: /table is full/ });
  t.is(entries.length, 1);
});

test("an entry is made right when its address went to another, and only then", async (t) => {
  const { entries, open } = table();
  const neighbours = await createNeighbours(open);
  neighbours.correct(first);
  t.is(entries.length, 0);
  neighbours.set(first);
  neighbours.correct(first);
  t.is(entries.length, 1);
  neighbours.correct({ ...first, mac: second.mac });
  t.is(entries.length, 2);
});
