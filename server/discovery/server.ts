/**
 * Answers nodes that ask where the install server is.
 *
 * Hears (group, port) on one named interface and answers unicast, signed over
 * the asker's nonce. It never answers another network, a service it does not
 * offer, or a source that asks too often: those are counted, and nothing else.
 */

import { type Ipv4Address, ipv4ToNumber } from "#protocol/brand.ts";
import {
  type DiscoveryQuestion,
  installService,
  type ServerParams,
  signedText,
} from "#protocol/discovery.ts";
import { createTokenBuckets } from "#protocol/token-bucket.ts";
import type { Clock } from "../clock.ts";
import type { Config, Subnet } from "../config.ts";
import type { Site } from "../enrol/authority.ts";
import { ConfigurationError, PacketError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { DatagramSocket, openDatagramSocket } from "../net/udp.ts";
import { answerTo, decodeQuestion, encodeAnswer } from "./codec.ts";

export type DiscoveryOutcome =
  | "answered"
  | "malformed"
  | "other-service"
  | "foreign-source"
  | "too-often";

export interface DiscoveryMetrics {
  question(interfaceName: string, outcome: DiscoveryOutcome): void;
}

export interface Discovery {
  /** How many datagrams ended how, since the start. */
  counts(): Readonly<Record<DiscoveryOutcome, number>>;
  close(): Promise<void>;
}

/** @throws ConfigurationError when no subnet names the interface. */
export async function startDiscovery(context: {
  readonly config: Pick<Config, "discovery" | "subnets">;
  readonly interfaceName: string;
  readonly address: Ipv4Address;
  readonly site: Pick<Site, "sign" | "keyId" | "authorityPem">;
  readonly bootUrl: string;
  readonly agentUrl: string;
  /** The server's name for people, shown by the agent. */
  readonly hostname: string;
  readonly log: Log;
  readonly clock: Clock;
  readonly openSocket: typeof openDatagramSocket;
  readonly metrics?: DiscoveryMetrics;
}): Promise<Discovery> {
  const { config, interfaceName, address, site, log, clock } = context;
  const subnets = config.subnets.filter((subnet) => subnet.interface === interfaceName);
  if (subnets.length === 0) {
    throw new ConfigurationError(`no subnet names the interface ${interfaceName}`);
  }
  const params: ServerParams = {
    url: context.agentUrl,
    bootUrl: context.bootUrl,
    hostname: context.hostname,
    authority: site.authorityPem,
  };
  // A node asks once a second; 48 nodes that start together stay below 100 a second.
  const perSource = createTokenBuckets({ burst: 5, perSecond: 2, sources: 1024 });
  const together = createTokenBuckets({ burst: 200, perSecond: 100, sources: 1 });
  const counts: Record<DiscoveryOutcome, number> = {
    answered: 0,
    malformed: 0,
    "other-service": 0,
    "foreign-source": 0,
    "too-often": 0,
  };

  const socket: DatagramSocket = await context.openSocket(
    {
      interface: interfaceName,
      port: config.discovery.port,
      reuse: true,
      multicast: { group: config.discovery.group, interfaceAddress: address },
    },
    log,
  );

  socket.onMessage((bytes, from) => {
    const outcome = handle(bytes, from);
    counts[outcome]++;
    context.metrics?.question(interfaceName, outcome);
    log.debug({ from: from.address, port: from.port, outcome }, "discovery question");
  });

  function handle(
    bytes: Uint8Array,
    from: { readonly address: Ipv4Address; readonly port: number },
  ): DiscoveryOutcome {
    // The answer is longer than the question: it must not be sent to a forged far address.
    if (!subnets.some((subnet) => isInside(from.address, subnet))) return "foreign-source";
    const question = decodeOrUndefined(bytes);
    if (!question) return "malformed";
    if (question.Command === "Request-For" && question.Params !== installService) {
      return "other-service";
    }
    const now = clock.monotonic();
    if (!perSource.take(from.address, now) || !together.take("all", now)) return "too-often";
    const signature = site.sign(signedText(params, question.Nonce));
    const answer = encodeAnswer(answerTo(question, params, site.keyId, signature));
    socket.send(answer, from.port, from.address);
    return "answered";
  }

  return { counts: () => ({ ...counts }), close: () => socket.close() };
}

function decodeOrUndefined(bytes: Uint8Array): DiscoveryQuestion | undefined {
  try {
    return decodeQuestion(bytes);
  } catch (error) {
    if (error instanceof PacketError) return undefined;
    throw error;
  }
}

function isInside(address: Ipv4Address, subnet: Subnet): boolean {
  const mask = ipv4ToNumber(subnet.netmask);
  return (ipv4ToNumber(address) & mask) >>> 0 === (ipv4ToNumber(subnet.network) & mask) >>> 0;
}
