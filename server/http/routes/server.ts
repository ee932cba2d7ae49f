/** The server itself: health, metrics, installer images, the description of this API. */

import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { Type } from "typebox";
import { agentVersion } from "#protocol/agent.ts";
import { nodeStates } from "#protocol/node.ts";
import { readNetinst } from "../netinst.ts";
import { type Route, route } from "../route.ts";
import { oneOf, pageOf } from "../schemas.ts";
import type { Admin } from "../services.ts";

const registries = new WeakMap<object, Registry>();

/** Gauges are read at the scrape: nothing has to be counted in between. */
function registryOf(admin: Admin): Registry {
  const known = registries.get(admin.store);
  if (known) return known;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "marcoboot_nodes",
    help: "Nodes by state",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      const nodes = admin.nodes.list();
      for (const state of nodeStates) {
        this.set({ state }, nodes.filter((node) => node.state === state).length);
      }
    },
  });
  new Gauge({
    name: "marcoboot_nodes_online",
    help: "Nodes whose agent calls",
    registers: [registry],
    collect() {
      this.set(admin.nodes.list().filter((node) => node.connection === "online").length);
    },
  });
  new Gauge({
    name: "marcoboot_tasks_unfinished",
    help: "Tasks queued or running, by state",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      const tasks = admin.store.tasks.unfinished();
      for (const state of ["queued", "running"]) {
        this.set({ state }, tasks.filter((task) => task.state === state).length);
      }
    },
  });
  registries.set(admin.store, registry);
  return registry;
}

export const serverRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/healthz",
    role: "public",
    name: "get-health",
    summary: "Whether the server answers",
    response: Type.Object({ ok: Type.Boolean(), version: Type.String() }),
    handler: () => ({ ok: true, version: agentVersion }),
  }),
  route({
    method: "get",
    path: "/metrics",
    role: "viewer",
    name: "get-metrics",
    summary: "Metrics in Prometheus' text format",
    responseType: "text/plain",
    handler: async ({ koa }, admin) => {
      const own = registryOf(admin);
      const registry = admin.metrics ? Registry.merge([own, admin.metrics]) : own;
      koa.type = registry.contentType;
      return registry.metrics();
    },
  }),
  route({
    method: "get",
    path: "/api/v1/netinst",
    role: "viewer",
    name: "list-netinst",
    summary: "Installer images on disk: sizes and digests",
    response: pageOf(
      Type.Object({
        arch: oneOf(["amd64", "arm64"]),
        kernelBytes: Type.Integer(),
        stage1Bytes: Type.Integer(),
        stage2Bytes: Type.Integer(),
        stage2Digest: Type.String(),
      }),
    ),
    handler: (_request, { config }) => ({ items: readNetinst(config.netinstDirectory) }),
  }),
];
