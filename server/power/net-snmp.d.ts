/** What we use of the npm package `net-snmp` 3.29; it brings no types of its own. */

declare module "net-snmp" {
  export interface Varbind {
    readonly oid: string;
    readonly type: number;
    readonly value: unknown;
  }

  export interface User {
    readonly name: string;
    readonly level: number;
    readonly authProtocol?: number;
    readonly authKey?: string;
    readonly privProtocol?: number;
    readonly privKey?: string;
  }

  export interface SessionOptions {
    readonly port: number;
    readonly version: number;
    /** How often a request is sent again. */
    readonly retries: number;
    /** Milliseconds until then. */
    readonly timeout: number;
    readonly transport?: "udp4" | "udp6";
  }

  export type Answered = (error: Error | null, varbinds?: readonly Varbind[]) => void;

  export interface Session {
    get(oids: readonly string[], answered: Answered): void;
    set(varbinds: readonly Varbind[], answered: Answered): void;
    /** Walks the objects below `oid`, `rows` in one answer. */
    subtree(
      oid: string,
      rows: number,
      found: (varbinds: readonly Varbind[]) => void,
      answered: Answered,
    ): void;
    close(): void;
    on(event: "error", listener: (error: Error) => void): void;
  }

  export class RequestTimedOutError extends Error {}
  export class RequestFailedError extends Error {
    /** An error status of RFC 3416 §3. */
    readonly status: number;
  }

  interface Snmp {
    createSession(host: string, community: string, options: SessionOptions): Session;
    createV3Session(host: string, user: User, options: SessionOptions): Session;
    isVarbindError(varbind: Varbind): boolean;
    varbindError(varbind: Varbind): string;
    readonly Version1: number;
    readonly Version2c: number;
    readonly Version3: number;
    readonly ObjectType: { readonly Integer: number };
    readonly ErrorStatus: Readonly<Record<number, string>>;
    readonly SecurityLevel: {
      readonly noAuthNoPriv: number;
      readonly authNoPriv: number;
      readonly authPriv: number;
    };
    readonly AuthProtocols: Readonly<Record<string, number>>;
    readonly PrivProtocols: Readonly<Record<string, number>>;
    readonly RequestTimedOutError: typeof RequestTimedOutError;
    readonly RequestFailedError: typeof RequestFailedError;
  }

  const snmp: Snmp;
  export default snmp;
}
