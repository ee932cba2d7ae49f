/**
 * The certificates of nodes after their enrolment: who asks, until when that counts,
 * the next one, and the end.
 *
 *   current   enrolled or renewed; the only one that counts
 *   next      issued at a renewal; the first request that shows it makes it the current one
 *
 * What counts is in the node's record, so a certificate ends with the commit that
 * changes the record: a revoked, retired or newly enrolled node's open connections
 * are cut by the event of that commit. Dates are judged by the server's clock alone,
 * and not against an agent that called within the last hour: a clock that jumps must
 * not lock a rack out.
 */

import type { TLSSocket } from "node:tls";
import { type EnrolAnswer, enrolText, type RenewRequest } from "#protocol/agent.ts";
import {
  after,
  type Instant,
  type Ipv4Address,
  milliseconds,
  type NodeId,
  parseIpv4Address,
} from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import { createAudit } from "../audit/audit.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import { ForbiddenError, TooManyRequestsError, UnauthorisedError } from "../errors.ts";
import type { EventBus } from "../events.ts";
import type { Log } from "../log.ts";
import type { Nodes } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";

export interface CredentialsContext {
  readonly config: Pick<Config, "certificateDays">;
  readonly site: Pick<Site, "sign" | "issueNodeCertificate">;
  readonly nodes: Pick<Nodes, "get" | "update" | "silence">;
  readonly store: Pick<Store, "transaction" | "audit">;
  readonly events: Pick<EventBus, "publish" | "on">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Credentials {
  /** Who asks, proven by the connection's client certificate. @throws UnauthorisedError, ForbiddenError */
  nodeOf(socket: TLSSocket): Node;
  /** A third of its time is left, or it was issued without an end. Not while the node is held back. */
  isRenewalDue(node: Node): boolean;
  /** @throws InvalidInputError, ForbiddenError, TooManyRequestsError */
  renew(node: Node, request: RenewRequest): Promise<EnrolAnswer>;
  close(): void;
}

const dayMs = 24 * 3600 * 1000;
const heardLately = milliseconds(3600 * 1000);
/** A refused certificate is worth a row and an alarm, a thousand of them are not; per address, and of all. */
const refusalsOfOne = { burst: 3, perSecond: 1 / 60, sources: 256 };
const refusalsOfAll = { burst: 50, perSecond: 1 / 10, sources: 1 };
/** A lost answer is asked for again; more is a fault. */
const renewals = { burst: 5, perSecond: 1 / 600, sources: 16_384 };

/** When a certificate that is issued at `now` ends. */
export function endOf(config: CredentialsContext["config"], now: Instant): Instant {
  return after(now, milliseconds(config.certificateDays * dayMs));
}

export function createCredentials(context: CredentialsContext): Credentials {
  const { config, site, nodes, store, events, clock, log } = context;
  const audit = createAudit(context);
  const leftOfOne = createTokenBuckets(refusalsOfOne);
  const leftOfAll = createTokenBuckets(refusalsOfAll);
  const renewalsLeft = createTokenBuckets(renewals);
  /** What each open connection of a node showed. */
  const open = new Map<NodeId, Map<TLSSocket, string>>();

  const refuse = (socket: TLSSocket, reason: string): ForbiddenError => {
    const from = addressOf(socket);
    const now = clock.monotonic();
    if (leftOfOne.take(from, now) && leftOfAll.take("all", now)) {
      audit.append("server", "agent certificate refused", from, reason);
      events.publish({ topic: "alarm", text: `certificate refused of ${from}: ${reason}` });
      log.warn({ from, reason }, "agent certificate refused");
    }
    return new ForbiddenError(reason);
  };

  function remember(id: NodeId, socket: TLSSocket, fingerprint: string): void {
    const sockets = open.get(id) ?? new Map<TLSSocket, string>();
    if (sockets.has(socket)) return;
    open.set(id, sockets.set(socket, fingerprint));
    socket.once("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0 && open.get(id) === sockets) open.delete(id);
    });
  }

  const stopCutting = events.on("node", ({ node }) => {
    for (const [socket, fingerprint] of open.get(node.id) ?? []) {
      if (counts(node, fingerprint)) continue;
      log.info({ node: node.id, from: socket.remoteAddress }, "connection cut: certificate ended");
      socket.destroy();
    }
  });

  function whyOver(node: Node): string | undefined {
    const until = node.certificateUntil;
    if (until === undefined || clock.now() < until || nodes.silence(node.id) < heardLately) {
      return undefined;
    }
    return `client certificate of ${node.name} ended ${new Date(until).toISOString()}`;
  }

  return {
    nodeOf(socket) {
      const certificate = socket.getPeerX509Certificate();
      if (!certificate) throw new UnauthorisedError("a client certificate is needed: enrol first");
      if (!socket.authorized) {
        const why = String(socket.authorizationError);
        throw refuse(socket, `client certificate is not of this site: ${why}`);
      }
      const id = certificate.subject.replace(/^CN=/, "") as NodeId;
      const node = nodes.get(id);
      if (!node) throw refuse(socket, `client certificate names the unknown node ${id}`);
      const fingerprint = certificate.fingerprint256.replaceAll(":", "").toLowerCase();
      if (!counts(node, fingerprint)) {
        const reason =
          node.certificate === undefined
            ? `${node.name} has no certificate any more: it was revoked, or the node was retired`
            : `client certificate of ${node.name} was replaced by a newer one: a copy of its disk?`;
        throw refuse(socket, reason);
      }
      remember(id, socket, fingerprint);
      if (fingerprint !== node.certificate) return promote(node, nodes);
      const over = whyOver(node);
      if (over !== undefined) throw refuse(socket, over);
      return node;
    },

    isRenewalDue({ quarantined, certificateUntil }) {
      if (quarantined) return false;
      const third = (config.certificateDays * dayMs) / 3;
      return certificateUntil === undefined || certificateUntil - clock.now() < third;
    },

    async renew({ id, name, quarantined, certificate }, { publicKey, nonce }) {
      if (quarantined) throw new ForbiddenError(`node ${name} is held back`);
      if (!renewalsLeft.take(id, clock.monotonic())) {
        throw new TooManyRequestsError(`too many renewals of ${name}`);
      }
      const { pem, fingerprint } = await site.issueNodeCertificate(id, publicKey);
      store.transaction(() => {
        const node = nodes.get(id);
        if (node?.certificate !== certificate || node?.quarantined !== false) {
          throw new ForbiddenError(`${name} was revoked, retired or enrolled again meanwhile`);
        }
        const until = endOf(config, clock.now());
        nodes.update(id, { nextCertificate: { fingerprint, until } });
        audit.append(`node:${id}`, "certificate renewed", id, `next certificate ${fingerprint}`);
      });
      const answer = { nodeId: id, certificate: pem, nonce };
      return { ...answer, signature: site.sign(enrolText(answer)) };
    },

    close: stopCutting,
  };
}

function counts({ certificate, nextCertificate }: Node, fingerprint: string): boolean {
  return fingerprint === certificate || fingerprint === nextCertificate?.fingerprint;
}

/** The node has shown its next certificate: the one before is worth nothing from now on. */
function promote({ id, nextCertificate }: Node, nodes: Pick<Nodes, "update">): Node {
  return nodes.update(id, {
    certificate: nextCertificate?.fingerprint,
    certificateUntil: nextCertificate?.until,
    nextCertificate: undefined,
  });
}

export function addressOf(socket: { readonly remoteAddress?: string | undefined }): Ipv4Address {
  return parseIpv4Address(socket.remoteAddress ?? "");
}
