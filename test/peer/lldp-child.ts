/** Prints, a line of JSON at a time, what the agent would tell of the switch ports heard on `<interface>`. */

import { listenToSwitches, tellSwitchPorts } from "../../netinst/lldp-listener.ts";

const [interfaceName = ""] = process.argv.slice(2);
const print = (value: unknown) => void process.stdout.write(`${JSON.stringify(value)}\n`);
const console = {
  info: (text: string) => print({ text }),
  warn: (text: string) => print({ text }),
};
const stopping = new AbortController();
process.on("SIGTERM", () => stopping.abort());
const connection = {
  post: async (_path: string, body: unknown) => print(body),
  get: async () => undefined,
  rest: () => undefined,
  close: () => undefined,
};
const listener = await listenToSwitches(interfaceName, console);
print("ready");
await tellSwitchPorts(listener, { connection, console, periodMs: 100 }, stopping.signal);
listener.close();
