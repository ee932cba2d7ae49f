/**
 * The agent's discovery alone: `<pinned key> <interface> <own address>
 * [<address to ask by unicast>]`. Prints what it says, then `found <server>`.
 */

import { discoveryGroup, discoveryPort } from "#protocol/discovery.ts";
import { discover } from "../../netinst/discover.ts";
import { pinKey } from "../../netinst/trust.ts";
import { linksOf } from "../../server/discovery/shared/sockets.ts";

const [key = "", name = "", address = "", alsoAsk] = process.argv.slice(2);
const say = (line: string) => void process.stdout.write(`${line}\n`);
const found = await discover(
  {
    key: pinKey(key),
    group: discoveryGroup,
    port: discoveryPort,
    links: linksOf(name, address),
    firstDelayMs: 200,
    ...(alsoAsk !== undefined && { alsoAsk }),
    console: { info: say, warn: say, take: () => [] },
  },
  AbortSignal.timeout(60_000),
);
say(`found ${found.hostname} at ${found.url}`);
