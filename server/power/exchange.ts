/**
 * One HTTP question of a power driver: a small body out, a small body in, no
 * redirects, no proxy. A server's certificate is checked against the site's usual
 * authorities, against one given in the settings, or against its fingerprint;
 * with a fingerprint nothing is sent before the certificate was seen to be the one.
 */

import { type IncomingMessage, type RequestOptions, request as startRequest } from "node:http";
import { connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { Type } from "typebox";
import { PowerRefusedError, PowerUnreachableError } from "../errors.ts";
import type { SettingsOf } from "./driver.ts";

/** Members of drivers that speak HTTPS. */
export const trustMembers = {
  certificateFingerprint: Type.Optional(
    Type.String({
      description: "SHA-256 of the server's certificate, in hexadecimal, with or without colons",
      pattern: "^[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){31}$",
    }),
  ),
  certificateAuthority: Type.Optional(
    Type.String({
      description: "certificate in PEM that the server's is signed by",
      pattern: "^-----BEGIN CERTIFICATE-----",
      maxLength: 20_000,
    }),
  ),
};
export type Trust = SettingsOf<typeof trustMembers>;

const maxAnswer = 1024 * 1024; // octets; a Redfish resource has some 10 kB

export interface Question {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly trust: Trust;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** @throws PowerUnreachableError; PowerRefusedError when the certificate is not the right one */
export async function exchange(question: Question, signal: AbortSignal): Promise<Answer> {
  const { method, url, headers = {}, body } = question;
  if (signal.aborted) throw new PowerUnreachableError(`${url.host}: no time left`);
  const secure = url.protocol === "https:" ? await secureSocket(question, signal) : undefined;
  const options: RequestOptions = {
    method,
    signal,
    hostname: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port || 80,
    path: `${url.pathname}${url.search}`,
    headers: {
      ...headers,
      host: url.host,
      connection: "close",
      ...(body !== undefined && { "content-length": String(Buffer.byteLength(body)) }),
    },
    ...(secure ? { createConnection: () => secure } : { agent: false }), // an agent would connect anew
  };
  try {
    const request = startRequest(options);
    return await new Promise<Answer>((resolve, reject) => {
      request.on("error", reject);
      request.on("response", (response) => read(response).then(resolve, reject));
      request.end(body);
    });
  } catch (cause) {
    if (cause instanceof PowerUnreachableError) throw cause;
    throw new PowerUnreachableError(`${url.host} did not answer: ${reasonOf(cause)}`, { cause });
  } finally {
    secure?.destroy();
  }
}

/** A connection whose certificate has been checked. */
function secureSocket({ url, trust }: Question, signal: AbortSignal): Promise<TLSSocket> {
  const { certificateFingerprint: pinned, certificateAuthority } = trust;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port: Number(url.port || 443),
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
      rejectUnauthorized: pinned === undefined,
      ...(certificateAuthority !== undefined && { ca: certificateAuthority }),
    });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    const late = () => fail(new PowerUnreachableError(`${url.host}: no answer in time`));
    signal.addEventListener("abort", late, { once: true });
    socket.on("error", (cause) => fail(connectFailure(url, cause)));
    socket.once("secureConnect", () => {
      signal.removeEventListener("abort", late);
      const wrong =
        pinned === undefined ? undefined : mismatch(pinned, socket.getPeerCertificate());
      if (wrong === undefined) resolve(socket);
      else fail(new PowerRefusedError(`${url.host}: ${wrong}`));
    });
  });
}

function mismatch(pinned: string, { fingerprint256 }: PeerCertificate): string | undefined {
  const plain = (text: string) => text.replaceAll(":", "").toLowerCase();
  if (plain(fingerprint256 ?? "") === plain(pinned)) return undefined;
  return `its certificate is ${fingerprint256}, not the one in certificateFingerprint`;
}

function connectFailure(url: URL, cause: Error): Error {
  const { code = "" } = cause as NodeJS.ErrnoException;
  if (!/CERT|SELF_SIGNED|ISSUER|ALTNAME|VERIFY/.test(code)) {
    return new PowerUnreachableError(`${url.host} did not answer: ${reasonOf(cause)}`, { cause });
  }
  const remedy = "give certificateAuthority or certificateFingerprint";
  return new PowerRefusedError(`${url.host}: its certificate is not trusted (${code}): ${remedy}`, {
    cause,
  });
}

async function read(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  let octets = 0;
  for await (const part of response) {
    octets += (part as Buffer).length;
    if (octets > maxAnswer) {
      response.destroy();
      throw new PowerUnreachableError(`the answer has more than ${maxAnswer} octets`);
    }
    parts.push(part as Buffer);
  }
  const { statusCode = 0, headers } = response;
  return { status: statusCode, headers, body: Buffer.concat(parts).toString("utf8") };
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
