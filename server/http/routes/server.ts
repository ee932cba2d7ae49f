/** The server itself: health, metrics, installer images, the description of this API. */

import { Type } from "typebox";
import { agentVersion } from "#protocol/agent.ts";
import { readNetinst } from "../netinst.ts";
import { type Route, route } from "../route.ts";
import { oneOf, pageOf } from "../schemas.ts";

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
    handler: ({ koa }, { metrics }) => {
      koa.type = metrics.contentType;
      return metrics.metrics();
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
