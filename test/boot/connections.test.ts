import test from "ava";
import { milliseconds, parseIpv4Address } from "#protocol/brand.ts";
import { type Connection, createConnections } from "../../server/http/connections.ts";

/** A table of connections, and which of them were ended, by name. */
function table(limits: { readonly total: number; readonly perClient: number }) {
  let time = 0;
  const ended: string[] = [];
  const names = new Map<Connection, string>();
  const connections = createConnections(
    limits,
    () => milliseconds(time),
    (connection, reason) => void ended.push(`${names.get(connection)} for ${reason}`),
  );
  return {
    ended,
    connections,
    wait: (duration: number) => {
      time += duration;
    },
    add(name: string, client: string, taken = 0) {
      const connection = {
        address: parseIpv4Address(client),
        taken: () => taken,
        end: () => connections.remove(connection),
      };
      names.set(connection, name);
      connections.add(connection);
      return connection;
    },
  };
}

test("of a client's own, the one that was unused for longest goes", (t) => {
  const { add, connections, ended, wait } = table({ total: 9, perClient: 2 });
  const first = add("first", "10.77.0.10");
  wait(1);
  add("second", "10.77.0.10");
  wait(1);
  connections.setBusy(first, true);
  connections.setBusy(first, false); // used last
  add("third", "10.77.0.10");
  t.deepEqual(ended, ["second for client"]);
});

test("one that serves nothing goes before one that is slow", (t) => {
  const { add, connections, ended, wait } = table({ total: 2, perClient: 2 });
  connections.setBusy(add("slow", "10.77.0.10"), true);
  add("idle", "10.77.0.11");
  wait(60_000);
  add("new", "10.77.0.12");
  t.deepEqual(ended, ["idle for total"]);
});

test("of those that are served, the slowest goes, not the oldest", (t) => {
  const { add, connections, ended, wait } = table({ total: 3, perClient: 3 });
  connections.setBusy(add("fast", "10.77.0.10", 9_000_000), true);
  wait(50_000);
  connections.setBusy(add("stopped", "10.77.0.11", 60_000), true);
  connections.setBusy(add("steady", "10.77.0.12", 900_000), true);
  wait(10_000);
  add("new", "10.77.0.13");
  t.deepEqual(ended, ["stopped for total"]);
});

test("what was closed makes room", (t) => {
  const { add, connections, ended } = table({ total: 1, perClient: 1 });
  const one = add("one", "10.77.0.10");
  connections.remove(one);
  connections.remove(one);
  add("two", "10.77.0.10");
  t.deepEqual(ended, []);
});
