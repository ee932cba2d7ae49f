/** Leases now in use, and reservations kept for good. */

import { type Route, route } from "../route.ts";
import { leaseSchema, pageOf, reservationSchema } from "../schemas.ts";

export const leaseRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/leases",
    role: "viewer",
    name: "list-leases",
    summary: "Addresses in use",
    response: pageOf(leaseSchema),
    handler: (_request, { leases }) => ({ items: leases.list() }),
  }),
];

export const reservationRoutes: readonly Route[] = [
  route({
    method: "get",
    path: "/api/v1/reservations",
    role: "viewer",
    name: "list-reservations",
    summary: "Addresses that belong to a MAC address",
    response: pageOf(reservationSchema),
    handler: (_request, { store }) => ({ items: store.reservations.list() }),
  }),
];
