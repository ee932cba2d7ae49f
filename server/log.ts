/** The log: events, not prose. `log.info({ mac, address }, "lease bound")`. Never a secret. */

import { type Logger, pino } from "pino";
import { createLogDestination } from "./log-destination.ts";

export type Log = Logger;

/** Secrets are cut even when somebody logs a whole object by mistake. */
const secretPaths = [
  "token",
  "password",
  "ticket",
  "authorization",
  "*.token",
  "*.password",
  "*.ticket",
  "*.authorization",
];

/** @param level - pino's level name; `debug` shows dropped packets and "not found" probes. */
export function createLog(level: string): Log {
  return pino(
    { level, base: null, redact: { paths: secretPaths, censor: "[secret]" } },
    createLogDestination(),
  );
}

export const silentLog: Log = pino({ level: "silent" });
