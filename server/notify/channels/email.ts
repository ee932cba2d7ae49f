/** Notices by e-mail: plain text, one message to all recipients, by the site's own mail server. */

import { createTransport } from "nodemailer";
import type { Notice } from "#protocol/notice.ts";
import { UnavailableError } from "../../errors.ts";
import type { Channel } from "../channel.ts";

export interface EmailSettings {
  readonly host: string;
  readonly port: number;
  /** `starttls` refuses a server that does not offer it; `none` is for a relay on this machine. */
  readonly security: "tls" | "starttls" | "none";
  readonly user?: string;
  readonly password?: string;
  readonly from: string;
  readonly to: readonly string[];
  /** Host name of this machine: begins the subject. */
  readonly server: string;
}

const patience = 20_000; // ms for each step of the exchange

export function createEmail(settings: EmailSettings): Channel {
  const { host, port, security, user, password, from, to, server } = settings;
  const transport = createTransport({
    host,
    port,
    secure: security === "tls",
    requireTLS: security === "starttls",
    ignoreTLS: security === "none",
    ...(user !== undefined && { auth: { user, pass: password ?? "" } }),
    connectionTimeout: patience,
    greetingTimeout: patience,
    socketTimeout: patience,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  /** `<key of a notice> <address>`, while somebody else is still to get it. */
  const taken = new Set<string>();
  return {
    async send(notices, id) {
      const [first] = notices;
      if (!first) return;
      const marks = (address: string) => notices.map(({ key }) => `${key} ${address}`);
      const due = to.filter((address) => marks(address).some((mark) => !taken.has(mark)));
      const more = notices.length > 1 ? ` (and ${notices.length - 1} more)` : "";
      try {
        const { rejected } = await transport.sendMail({
          from,
          to: due,
          subject: `[marcoboot ${server}] ${first.subject}${more}`,
          text: notices.map(textOf).join("\n\n"),
          messageId: `<${id}@${server}>`,
          headers: { "Auto-Submitted": "auto-generated" }, // RFC 3834: nobody's holiday answers it
        });
        const refused = due.filter((address) => rejected.some((one) => String(one) === address));
        for (const mark of due.flatMap(marks)) taken.add(mark);
        for (const mark of refused.flatMap(marks)) taken.delete(mark);
        if (refused.length > 0) throw new Error(`it refuses ${refused.join(", ")}`);
        for (const mark of to.flatMap(marks)) taken.delete(mark);
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new UnavailableError(`mail server ${host}:${port}: ${reason}`, { cause });
      }
    },
  };
}

function textOf({ at, subject, text }: Notice): string {
  return `${new Date(at).toISOString()}  ${subject}\n\n${text}\n`;
}
