/** All rows of the API. A row that is not here does not exist. */

import type { Route } from "./route.ts";
import { auditRoutes } from "./routes/audit.ts";
import { doctorRoutes } from "./routes/doctor.ts";
import { eventRoutes } from "./routes/events.ts";
import { imageRoutes } from "./routes/images.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { learningRoutes } from "./routes/learnings.ts";
import { leaseRoutes, reservationRoutes } from "./routes/leases.ts";
import { nodeRoutes } from "./routes/nodes.ts";
import { powerRoutes } from "./routes/power.ts";
import { rackRoutes } from "./routes/racks.ts";
import { serverRoutes } from "./routes/server.ts";
import { sessionRoutes } from "./routes/sessions.ts";
import { taskRoutes } from "./routes/tasks.ts";
import { timelineRoutes } from "./routes/timeline.ts";

export const apiRoutes: readonly Route[] = [
  ...sessionRoutes,
  ...rackRoutes,
  ...nodeRoutes,
  ...timelineRoutes,
  ...leaseRoutes,
  ...reservationRoutes,
  ...imageRoutes,
  ...jobRoutes,
  ...taskRoutes,
  ...powerRoutes,
  ...learningRoutes,
  ...eventRoutes,
  ...auditRoutes,
  ...doctorRoutes,
  ...serverRoutes,
];
