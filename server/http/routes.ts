/** All rows of the API. A row that is not here does not exist. */

import type { Route } from "./route.ts";
import { auditRoutes } from "./routes/audit.ts";
import { calendarRoutes } from "./routes/calendar.ts";
import { doctorRoutes } from "./routes/doctor.ts";
import { eventRoutes } from "./routes/events.ts";
import { imageRoutes } from "./routes/images.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { learningRoutes } from "./routes/learnings.ts";
import { leaseRoutes, reservationRoutes } from "./routes/leases.ts";
import { loadRoutes } from "./routes/load.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { noticeRoutes } from "./routes/notices.ts";
import { powerRoutes } from "./routes/power.ts";
import { protectionRoutes } from "./routes/protections.ts";
import { rackRoutes } from "./routes/racks.ts";
import { ruleRoutes } from "./routes/rules.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { serverRoutes } from "./routes/server.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { siteRoutes } from "./routes/site.ts";
import { taskRoutes } from "./routes/tasks.ts";
import { timelineRoutes } from "./routes/timeline.ts";
import { userRoutes } from "./routes/users.ts";
import { windowRoutes } from "./routes/windows.ts";

export const apiRoutes: readonly Route[] = [
  ...sessionRoutes,
  ...userRoutes,
  ...rackRoutes,
  ...nodeRoutes,
  ...protectionRoutes,
  ...ruleRoutes,
  ...timelineRoutes,
  ...loadRoutes,
  ...leaseRoutes,
  ...reservationRoutes,
  ...imageRoutes,
  ...jobRoutes,
  ...taskRoutes,
  ...windowRoutes,
  ...scheduleRoutes,
  ...calendarRoutes,
  ...powerRoutes,
  ...learningRoutes,
  ...eventRoutes,
  ...noticeRoutes,
  ...auditRoutes,
  ...doctorRoutes,
  ...siteRoutes,
  ...serverRoutes,
];
