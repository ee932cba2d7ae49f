/** C26: every row of the API against every role. A row that is not in the table fails. */

import test from "ava";
import { roles } from "../../server/http/route.ts";
import { apiRoutes } from "../../server/http/routes.ts";
import { digest, startTestServer, tokens } from "./support.ts";

/** The least role, and a request that is otherwise right. */
const table: Readonly<
  Record<string, readonly [role: (typeof roles)[number], path: string, body?: unknown]>
> = {
  "get-setup": ["public", "/api/v1/setup"],
  "create-first-admin": ["public", "/api/v1/setup", { code: "x", name: "x", password: "x" }],
  "sign-in": ["public", "/api/v1/sessions", { name: "x", password: "x" }],
  "get-session": ["viewer", "/api/v1/sessions/current"],
  "sign-out": ["viewer", "/api/v1/sessions/current"],
  "list-users": ["admin", "/api/v1/users"],
  "add-user": ["admin", "/api/v1/users", { name: "bob", password: "0123456789", role: "viewer" }],
  "set-user-role": ["admin", "/api/v1/users/viewer", { role: "operator" }],
  "remove-user": ["admin", "/api/v1/users/viewer"],
  "set-password": [
    "admin", // one's own with the present one: users.test.ts
    "/api/v1/users/somebody/password",
    { password: "0123456789" },
  ],
  "list-tokens": ["viewer", "/api/v1/tokens"],
  "add-token": ["viewer", "/api/v1/tokens", { name: "ci", role: "viewer" }],
  "remove-token": ["viewer", "/api/v1/tokens/0123456789ab"],
  "list-racks": ["viewer", "/api/v1/racks"],
  "get-rack": ["viewer", "/api/v1/racks/lab"],
  "get-rack-file": ["admin", "/api/v1/racks/lab/file"],
  "put-rack": ["admin", "/api/v1/racks/lab", { name: "lab", stacks: [] }],
  "patch-rack": ["admin", "/api/v1/racks/lab", { stacks: { a: { slots: 4 } } }],
  "check-rack": ["admin", "/api/v1/rack-checks", { name: "r", stacks: [{ name: "a", slots: 1 }] }],
  "query-outlet": ["admin", "/api/v1/outlet-queries", { driver: "manual", settings: {} }],
  "delete-rack": ["admin", "/api/v1/racks/lab"],
  "list-nodes": ["viewer", "/api/v1/nodes"],
  "get-node": ["viewer", "/api/v1/nodes/node_a1"],
  "get-node-timeline": ["viewer", "/api/v1/nodes/node_a1/timeline"],
  "get-doctor": ["admin", "/api/v1/doctor?listenSeconds=0"],
  "update-node": ["operator", "/api/v1/nodes/node_a1", { name: "db-1" }],
  "approve-node": ["admin", "/api/v1/nodes/node_a1/approve"],
  "revoke-node": ["admin", "/api/v1/nodes/node_a1/revoke"],
  "retire-node": ["admin", "/api/v1/nodes/node_a1/retire"],
  "protect-node": ["operator", "/api/v1/nodes/node_a1/protection", { reason: "x" }],
  "release-node": ["admin", "/api/v1/nodes/node_a1/protection"],
  "list-protected-disks": ["viewer", "/api/v1/protected-disks"],
  "protect-disk": ["operator", "/api/v1/protected-disks/S1", { reason: "x" }],
  "release-disk": ["admin", "/api/v1/protected-disks/S1"],
  "list-rules": ["viewer", "/api/v1/rules"],
  "add-rule": ["admin", "/api/v1/rules", { rule: { name: "a" } }],
  "remove-rule": ["admin", "/api/v1/rules/a"],
  "try-rules": ["viewer", "/api/v1/nodes/node_a1/rules"],
  "list-notices": ["viewer", "/api/v1/notices"],
  "list-notification-channels": ["viewer", "/api/v1/notification-channels"],
  "test-notification-channel": ["admin", "/api/v1/notification-channels/mail/test"],
  "list-leases": ["viewer", "/api/v1/leases"],
  "list-reservations": ["viewer", "/api/v1/reservations"],
  "list-images": ["viewer", "/api/v1/images"],
  "get-image": ["viewer", `/api/v1/images/${digest}`],
  "add-image": ["admin", "/api/v1/images?name=x&architecture=amd64"],
  "delete-image": ["admin", `/api/v1/images/${digest}`],
  "list-job-kinds": ["viewer", "/api/v1/job-kinds"],
  "list-jobs": ["viewer", "/api/v1/jobs"],
  "get-job": ["viewer", "/api/v1/jobs/job_1"],
  "create-job": ["operator", "/api/v1/jobs", { kind: "reboot", selector: "all" }],
  "cancel-job": ["operator", "/api/v1/jobs/job_1/cancel"],
  "pause-job": ["operator", "/api/v1/jobs/job_1/pause", { reason: "x" }],
  "resume-job": ["operator", "/api/v1/jobs/job_1/resume"],
  "retry-job": ["operator", "/api/v1/jobs/job_1/retry"],
  "cancel-task": ["operator", "/api/v1/tasks/task_1/cancel"],
  "list-windows": ["viewer", "/api/v1/windows"],
  "get-window": ["viewer", "/api/v1/windows/night"],
  "put-window": [
    "admin",
    "/api/v1/windows/night",
    { effect: "allows", opens: "daily 02:00", minutes: 60, zone: "UTC" },
  ],
  "patch-window": ["admin", "/api/v1/windows/night", { minutes: 30 }],
  "delete-window": ["admin", "/api/v1/windows/night"],
  "get-calendar": ["viewer", "/api/v1/calendar"],
  "patch-schedule": ["operator", "/api/v1/schedules/weekly", { at: "sun 04:00" }],
  "list-schedules": ["viewer", "/api/v1/schedules"],
  "get-schedule": ["viewer", "/api/v1/schedules/weekly"],
  "put-schedule": [
    "operator",
    "/api/v1/schedules/weekly",
    { at: "sun 03:00", zone: "UTC", kind: "reboot", selector: "all" },
  ],
  "pause-schedule": ["operator", "/api/v1/schedules/weekly/pause"],
  "resume-schedule": ["operator", "/api/v1/schedules/weekly/resume"],
  "run-schedule": ["operator", "/api/v1/schedules/weekly/run"],
  "delete-schedule": ["operator", "/api/v1/schedules/weekly"],
  "get-task": ["viewer", "/api/v1/tasks/task_1"],
  "get-task-log": ["viewer", "/api/v1/tasks/task_1/log"],
  "set-power": ["operator", "/api/v1/power", { selector: "all", state: "on" }],
  "get-power": ["viewer", "/api/v1/power?selector=all"],
  "list-power-drivers": ["viewer", "/api/v1/power-drivers"],
  "start-learning": ["operator", "/api/v1/learnings", { rack: "lab" }],
  "get-learning": ["viewer", "/api/v1/learnings/current"],
  "cancel-learning": ["operator", "/api/v1/learnings/current"],
  "confirm-learning": ["operator", "/api/v1/learnings/current/confirm", { targets: ["a"] }],
  "keep-learning": ["operator", "/api/v1/learnings/current/keep", { targets: ["a"] }],
  "swap-slots": ["operator", "/api/v1/learnings/current/swap", { one: "a/1", other: "a/2" }],
  "place-board": [
    "operator",
    "/api/v1/learnings/current/place",
    { mac: "52:54:00:00:00:01", slot: "a/1" },
  ],
  "watch-node-load": ["viewer", "/api/v1/nodes/node_1/load"],
  "get-snapshot": ["viewer", "/api/v1/snapshot"],
  "stream-events": ["viewer", "/api/v1/events"],
  "list-audit": ["admin", "/api/v1/audit"],
  "get-site": ["viewer", "/api/v1/site"],
  "get-health": ["public", "/healthz"],
  "get-metrics": ["viewer", "/metrics"],
  "list-netinst": ["viewer", "/api/v1/netinst"],
};

test("every route has its row, and every row its route", (t) => {
  t.deepEqual(apiRoutes.map((route) => route.name).toSorted(), Object.keys(table).toSorted());
});

for (const route of apiRoutes) {
  const row = table[route.name];
  if (!row) continue;
  const [least, path, body] = row;
  // One after the other: a server waits 10 s for the headers of a request.
  test.serial(`${route.name} is for ${least} and above`, async (t) => {
    const server = await startTestServer();
    t.teardown(server.close);
    for (const role of roles) {
      const signal = new AbortController();
      const response = await server.fetch(path, {
        method: route.method.toUpperCase(),
        signal: signal.signal,
        ...(role !== "public" && { token: tokens[role] }),
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      signal.abort(); // of the stream the headers are enough
      // A public route may still refuse what the form says.
      const isRefused = response.status === 401 || response.status === 403;
      const isEnough = roles.indexOf(role) >= roles.indexOf(least);
      if (least !== "public") t.is(isRefused, !isEnough, `${role} got ${response.status}`);
      else t.true(response.status < 500);
    }
  });
}

test("an expired token is no credential", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  server.clock.move(3_600_001);
  t.is((await server.fetch("/api/v1/nodes", { token: tokens.admin })).status, 401);
});

test("a stranger does not learn which names exist", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  t.is((await server.fetch("/api/v1/no-such-thing")).status, 401);
  t.is((await server.fetch("/api/openapi.json")).status, 401);
  t.is((await server.fetch("/api/v1/no-such-thing", { token: tokens.viewer })).status, 404);
});

test("outlet settings, which may hold passwords, are for admins only", async (t) => {
  const server = await startTestServer();
  t.teardown(server.close);
  const rack = server.store.racks.get("lab");
  if (rack) {
    const outlet = { driver: "manual", settings: { password: "canary" } };
    server.store.racks.put({ ...rack, stacks: rack.stacks.map((stack) => ({ ...stack, outlet })) });
  }
  const read = async (path: string, token: string) => (await server.fetch(path, { token })).text();
  t.false((await read("/api/v1/racks/lab", tokens.operator)).includes("canary"));
  t.false((await read("/api/v1/snapshot", tokens.admin)).includes("canary"));
  t.true((await read("/api/v1/racks/lab", tokens.admin)).includes("canary"));
});
