/** Whether this server could be brought back. */

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { noteName } from "../../backup/create.ts";
import { type Check, fine, hint } from "../check.ts";
import { durationText } from "../words.ts";

const mostDays = 7;
const dayMs = 24 * 3_600_000;
const remedy =
  "`marcoboot backup create FILE` each night, `marcoboot backup keys FILE` once, both to another machine";

export const backupCheck: Check = {
  name: "backup",
  async examine({ config, clock }) {
    const { stateDirectory } = config;
    if (!existsSync(join(stateDirectory, "marcoboot.db"))) return []; // nothing could be lost
    const note = join(stateDirectory, noteName);
    if (!existsSync(note)) return [hint("backup-none", "this server was never backed up", remedy)];
    const age = clock.now() - statSync(note).mtimeMs;
    const text = `the last backup is ${durationText(age)} old: ${readFileSync(note, "utf8").trim()}`;
    return [age > mostDays * dayMs ? hint("backup-old", text, remedy) : fine("backup", text)];
  },
};
