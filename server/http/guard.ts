/**
 * What every admin request must pass before its route: a Host we are known by
 * (DNS rebinding), no foreign Origin on a method that changes something
 * (cross-site requests), and headers that keep foreign script out of the page.
 */

import { isIP } from "node:net";
import { hostname } from "node:os";
import type { Middleware } from "koa";
import { ForbiddenError } from "../errors.ts";

const safeMethods = new Set(["GET", "HEAD", "OPTIONS"]);

const securityHeaders = {
  "Content-Security-Policy":
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; " +
    "form-action 'self'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
} as const;

/** @param adminAddress - name or address the admin configured, always allowed */
export function guard(adminAddress: string): Middleware {
  const names = new Set(["localhost", hostname().toLowerCase(), adminAddress.toLowerCase()]);
  return (context, next) => {
    context.set(securityHeaders);
    context.set("Cache-Control", "no-store");
    const host = context.get("Host");
    if (!isOurHost(host, names)) {
      throw new ForbiddenError(`host ${JSON.stringify(host)} is not a name of this server`);
    }
    if (!safeMethods.has(context.method)) refuseForeignOrigin(context.get("Origin"), host);
    if (!safeMethods.has(context.method) && context.get("Sec-Fetch-Site") === "cross-site") {
      throw new ForbiddenError("request came from another site");
    }
    return next();
  };
}

/** An address is no name that a foreign DNS could point at us, so any of ours may be used. */
function isOurHost(host: string, names: ReadonlySet<string>): boolean {
  const url = URL.parse(`http://${host}`);
  if (!url || url.host === "") return false;
  const name = url.hostname.replace(/^\[|\]$/g, "");
  return isIP(name) !== 0 || names.has(name);
}

/** Programs send no Origin; browsers always do on these methods. */
function refuseForeignOrigin(origin: string, host: string): void {
  if (origin === "") return;
  if (URL.parse(origin)?.host !== URL.parse(`http://${host}`)?.host) {
    throw new ForbiddenError(`origin ${JSON.stringify(origin)} is not this server`);
  }
}
