/** All commands, in the order of the help. */

import type { Command } from "./command.ts";
import { backupCommands } from "./commands/backup.ts";
import { calendarCommands } from "./commands/calendar.ts";
import { discoverCommands } from "./commands/discover.ts";
import { doctorCommands } from "./commands/doctor.ts";
import { eventCommands } from "./commands/events.ts";
import { identifyCommands } from "./commands/identify.ts";
import { imageCommands } from "./commands/image.ts";
import { jobCommands } from "./commands/job.ts";
import { learnCommands } from "./commands/learn.ts";
import { leaseCommands } from "./commands/lease.ts";
import { netinstCommands } from "./commands/netinst.ts";
import { nodeCommands } from "./commands/node.ts";
import { nodeLoadCommands } from "./commands/node-load.ts";
import { nodeRunCommands } from "./commands/node-run.ts";
import { notifyCommands } from "./commands/notify.ts";
import { powerCommands } from "./commands/power.ts";
import { rackCommands } from "./commands/rack.ts";
import { rackFileCommands } from "./commands/rack-file.ts";
import { ruleCommands } from "./commands/rule.ts";
import { scheduleCommands } from "./commands/schedule.ts";
import { serveCommands } from "./commands/serve.ts";
import { sessionCommands } from "./commands/session.ts";
import { simCommands } from "./commands/sim.ts";
import { userCommands } from "./commands/user.ts";
import { windowCommands } from "./commands/window.ts";

export const commands: readonly Command[] = [
  ...serveCommands,
  ...backupCommands,
  ...doctorCommands,
  ...discoverCommands,
  ...sessionCommands,
  ...userCommands,
  ...rackCommands,
  ...rackFileCommands,
  ...learnCommands,
  ...nodeCommands,
  ...ruleCommands,
  ...identifyCommands,
  ...nodeLoadCommands,
  ...nodeRunCommands,
  ...imageCommands,
  ...jobCommands,
  ...windowCommands,
  ...scheduleCommands,
  ...calendarCommands,
  ...powerCommands,
  ...leaseCommands,
  ...eventCommands,
  ...notifyCommands,
  ...netinstCommands,
  ...simCommands,
];
