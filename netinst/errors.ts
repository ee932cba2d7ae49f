/** Errors of the agent. `retryable` goes into the report: could another attempt end better? */

export class AgentError extends Error {
  readonly retryable: boolean = false;

  override get name(): string {
    return this.constructor.name;
  }
}

/** The install cannot be done on this machine or with this image; nothing was made bootable. */
export class InstallRefusedError extends AgentError {}

/** Bytes whose digest or length is not what the manifest says. */
export class ImageMismatchError extends AgentError {}

/** A signature that the pinned key did not make, or a message that does not follow the protocol. */
export class UntrustedError extends AgentError {}

/** The server, or the way to it, is not there now. */
export class NetworkError extends AgentError {
  override readonly retryable = true;
}

/** The disk refused a read, a write or a flush, or returned other bytes than were written. */
export class DiskError extends AgentError {
  override readonly retryable = true;
}

/** A child program ended with an error; the message holds its last words. */
export class ToolError extends AgentError {}

/** The job was cancelled or the attempt replaced by a newer one: stop, report nothing more. */
export class AttemptEndedError extends AgentError {}

/** Of these, the one that nothing follows. */
export class CancelledError extends AttemptEndedError {}

/** The server answered with a problem document (RFC 9457). */
export class ProblemError extends AgentError {
  readonly status: number;
  /** Last part of the problem's type URI: `enrolment-refused`. */
  readonly code: string;
  override readonly retryable: boolean;

  constructor(status: number, code: string, detail: string) {
    super(`the server answered ${status} ${code}: ${detail}`);
    this.status = status;
    this.code = code;
    this.retryable = status >= 500 || status === 429;
  }
}

/** Text of anything thrown, with its causes. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message === "" ? error.name : error.message;
  return error.cause instanceof Error ? `${own}: ${reasonOf(error.cause)}` : own;
}
