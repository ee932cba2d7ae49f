/** The site's public keys: what its answers, assignments and certificates are checked by. */

import { Type } from "typebox";
import { type Route, route } from "../route.ts";

export const siteRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/site",
    role: "viewer",
    name: "get-site",
    summary: "The site's public key and authority, and where discovery is heard",
    response: Type.Object({
      serverKey: Type.String(),
      keyId: Type.String(),
      authority: Type.String(),
      discovery: Type.Object({
        group: Type.String(),
        groups: Type.Array(Type.String()),
        port: Type.Integer(),
      }),
    }),
    handler: (_request, { site, config }) => {
      const { group, groups, port } = config.discovery;
      return {
        serverKey: site.serverKey,
        keyId: site.keyId,
        authority: site.authorityPem,
        discovery: { group, groups, port },
      };
    },
  }),
];
