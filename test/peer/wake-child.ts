/** Runs in a network namespace: wakes one node by the driver. `wake-child.ts <mac> <interface>` */

import { wakeOnLanDriver } from "../../server/power/drivers/wake-on-lan.ts";

const [mac, name] = process.argv.slice(2);
const { signal } = new AbortController();
await wakeOnLanDriver.set(wakeOnLanDriver.parse({ mac, interface: name }), "on", signal);
