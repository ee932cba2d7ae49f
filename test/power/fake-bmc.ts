/**
 * A BMC in this process: HTTPS with a certificate of its own, and the resources
 * of DMTF's Redfish schema that switching power needs (ServiceRoot, sessions,
 * one ComputerSystem v1 with the action #ComputerSystem.Reset). Written after
 * DSP0266 and the ComputerSystem schema; not a real BMC.
 */

import { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { ExecutionContext } from "ava";
import { parseIpv4Address } from "#protocol/brand.ts";
import { openSite } from "../../server/enrol/authority.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const password = "canary-bmc-password";

export interface FakeBmc {
  readonly port: number;
  readonly authority: string;
  readonly fingerprint: string;
  power: "On" | "Off";
  /** Takes a reset and does not follow it. */
  isStuck: boolean;
  /** Never answers a reset. */
  hangs: boolean;
  /** What it answers to everything once it is not 0. */
  broken: number;
  resetTypes: readonly string[];
  /** Where its system says that the action is. */
  target: string;
  /** `GET /redfish/v1/Systems/1`, in the order asked. */
  readonly asked: string[];
  readonly sessions: Set<string>;
}

const system = "/redfish/v1/Systems/437XR1138R2";

export async function fakeBmc(t: ExecutionContext): Promise<FakeBmc> {
  const site = await openSite(temporaryDirectory(t));
  const { key, cert } = await site.serverTls([parseIpv4Address("127.0.0.1")]);
  const bmc = {
    port: 0,
    authority: site.authorityPem,
    fingerprint: new X509Certificate(cert).fingerprint256,
    power: "Off" as "On" | "Off",
    isStuck: false,
    hangs: false,
    broken: 0,
    resetTypes: ["On", "ForceOff", "GracefulShutdown", "ForceRestart"] as readonly string[],
    target: `${system}/Actions/ComputerSystem.Reset`,
    asked: [] as string[],
    sessions: new Set<string>(),
  };
  const server = createServer({ key, cert }, async (request, response) => {
    bmc.asked.push(`${request.method} ${request.url}`);
    const body = await bodyOf(request);
    if (bmc.hangs && request.method === "POST" && request.url === bmc.target) return;
    const { status, headers, value } = answer(bmc, request, body);
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(value === undefined ? undefined : JSON.stringify(value));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  bmc.port = (server.address() as AddressInfo).port;
  return bmc;
}

interface Reply {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly value?: unknown;
}

function answer(bmc: FakeBmc, request: IncomingMessage, body: Record<string, unknown>): Reply {
  const what = `${request.method} ${request.url}`;
  if (bmc.broken !== 0) return failure(bmc.broken, "The service is temporarily unavailable.");
  if (what === "POST /redfish/v1/SessionService/Sessions") return openSession(bmc, body);
  if (!isAllowed(bmc, request)) return failure(401, "The session is not authorized.");
  switch (what) {
    case "GET /redfish/v1/Systems":
      return {
        status: 200,
        value: { Members: [{ "@odata.id": system }], "Members@odata.count": 1 },
      };
    case `GET ${system}`:
      return { status: 200, value: systemOf(bmc) };
    case `POST ${system}/Actions/ComputerSystem.Reset`:
      if (!bmc.isStuck) bmc.power = body["ResetType"] === "On" ? "On" : "Off";
      return { status: 204 };
    default:
      if (request.method === "DELETE") {
        bmc.sessions.delete(String(request.headers["x-auth-token"]));
        return { status: 204 };
      }
      return failure(404, "The resource was not found.");
  }
}

function openSession(bmc: FakeBmc, body: Record<string, unknown>): Reply {
  if (body["UserName"] !== "admin" || body["Password"] !== password) {
    return failure(401, "Invalid user name or password.");
  }
  const id = String(bmc.asked.length);
  bmc.sessions.add(id);
  const path = `/redfish/v1/SessionService/Sessions/${id}`;
  return {
    status: 201,
    headers: { "x-auth-token": id, location: path },
    value: { "@odata.id": path, Id: id, UserName: "admin" },
  };
}

function isAllowed(bmc: FakeBmc, { headers }: IncomingMessage): boolean {
  const basic = `Basic ${Buffer.from(`admin:${password}`).toString("base64")}`;
  return headers.authorization === basic || bmc.sessions.has(String(headers["x-auth-token"]));
}

function systemOf(bmc: FakeBmc): unknown {
  return {
    "@odata.type": "#ComputerSystem.v1_20_0.ComputerSystem",
    "@odata.id": system,
    Id: "437XR1138R2",
    PowerState: bmc.power,
    Actions: {
      "#ComputerSystem.Reset": {
        target: bmc.target,
        "ResetType@Redfish.AllowableValues": bmc.resetTypes,
      },
    },
  };
}

function failure(status: number, message: string): Reply {
  return {
    status,
    value: {
      error: {
        code: "Base.1.8.GeneralError",
        message: "See ExtendedInfo.",
        "@Message.ExtendedInfo": [{ MessageId: "Base.1.8.GeneralError", Message: message }],
      },
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const part of request) text += String(part);
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}
