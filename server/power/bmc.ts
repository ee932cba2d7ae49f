/** What the drivers of a server's BMC have in common, whatever they speak. */

import { Type } from "typebox";
import { milliseconds } from "#protocol/brand.ts";
import { hostAndPort, hostSetting, portSetting, secret } from "./driver.ts";

/** @param userLength - longest user name of the protocol */
export function bmcMembers(port: number, userLength: number) {
  return {
    host: hostSetting("address of the BMC"),
    port: portSetting(port),
    user: Type.String({ description: "user of the BMC", minLength: 1, maxLength: userLength }),
    password: secret({ description: "its password" }),
  };
}

export const bmcBehaviour = {
  canQuery: true,
  minimumOffTime: milliseconds(5000),
  settleTime: milliseconds(15_000), // BMCs answer before the board has followed
  deviceOf: hostAndPort,
} as const;
