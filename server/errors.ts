/**
 * Every error this server throws on purpose.
 *
 * Three questions are answered by the class, never by the message:
 * who may see it (`status`), what a program should match on (`code`), and
 * whether trying again can help (`retryable`). The message is for people: what
 * went wrong, with the value that was wrong, and no full stop at the end.
 */

/**
 * Stable names; the API's `type` URIs and the metrics labels are made from them.
 * server/README.md lists each with its remedy.
 */
export type ErrorCode =
  | "packet-malformed"
  | "lease-pool-exhausted"
  | "power-unreachable"
  | "power-refused"
  | "power-stuck"
  | "image-digest-mismatch"
  | "image-invalid"
  | "image-in-use"
  | "not-found"
  | "conflict"
  | "precondition-failed"
  | "invalid-input"
  | "unauthorised"
  | "forbidden"
  | "too-many-requests"
  | "attempt-superseded"
  | "enrolment-refused"
  | "configuration-invalid"
  | "rack-file-invalid"
  | "unavailable";

export abstract class ProvisionError extends Error {
  abstract readonly code: ErrorCode;
  /** HTTP status used when the error reaches the API (RFC 9110 §15). */
  abstract readonly status: number;
  readonly retryable: boolean = false;

  override get name(): string {
    return this.constructor.name;
  }
}

/** Bytes from the network that do not follow their RFC. The packet is counted and dropped. */
export class PacketError extends ProvisionError {
  readonly code = "packet-malformed";
  readonly status = 400;
  /** Offset in octets from the start of the UDP payload. */
  readonly offset: number;

  constructor(reason: string, offset: number, options?: ErrorOptions) {
    super(`${reason} at octet ${offset}`, options);
    this.offset = offset;
  }
}

/** No free address is left in the pool; the client will ask again. */
export class PoolExhaustedError extends ProvisionError {
  readonly code = "lease-pool-exhausted";
  readonly status = 503;
  override readonly retryable = true;
}

/** The outlet's hardware did not answer, or answered nonsense. */
export class PowerUnreachableError extends ProvisionError {
  readonly code = "power-unreachable";
  readonly status = 502;
  override readonly retryable = true;
}

/** The settings name an outlet that does not exist, or the hardware said no. */
export class PowerRefusedError extends ProvisionError {
  readonly code = "power-refused";
  readonly status = 409;
}

/** The outlet took the order, and says that it did not follow: a welded relay, or a wrong outlet. */
export class PowerStuckError extends ProvisionError {
  readonly code = "power-stuck";
  readonly status = 502;
  /** What it says it is. */
  readonly state: "on" | "off";

  constructor(message: string, state: "on" | "off", options?: ErrorOptions) {
    super(message, options);
    this.state = state;
  }
}

export class NotFoundError extends ProvisionError {
  readonly code = "not-found";
  readonly status = 404;
}

/** The request was understood, but the state of things forbids it. */
export class ConflictError extends ProvisionError {
  readonly code = "conflict";
  readonly status = 409;
}

/** Somebody else changed it since the caller read it (`If-Match`, RFC 9110 §13.1.1). */
export class PreconditionFailedError extends ProvisionError {
  readonly code = "precondition-failed";
  readonly status = 412;
}

/** A value from outside that does not fit. `fields` names each by JSON pointer. */
export class InvalidInputError extends ProvisionError {
  readonly code = "invalid-input";
  readonly status = 400;
  readonly fields: readonly { readonly pointer: string; readonly detail: string }[];

  constructor(
    message: string,
    fields: readonly { readonly pointer: string; readonly detail: string }[] = [],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.fields = fields;
  }
}

/** No credential, or one that is not known. */
export class UnauthorisedError extends ProvisionError {
  readonly code = "unauthorised";
  readonly status = 401;
}

export class ForbiddenError extends ProvisionError {
  readonly code = "forbidden";
  readonly status = 403;
}

export class TooManyRequestsError extends ProvisionError {
  readonly code = "too-many-requests";
  readonly status = 429;
  override readonly retryable = true;
}

/** A report of an attempt that a newer one has replaced; nothing was changed (fencing). */
export class AttemptSupersededError extends ProvisionError {
  readonly code = "attempt-superseded";
  readonly status = 409;
}

/** Token unknown, used, late or another node's; the node is held and an alarm raised. */
export class EnrolmentRefusedError extends ProvisionError {
  readonly code = "enrolment-refused";
  readonly status = 403;
}

export class ConfigurationError extends ProvisionError {
  readonly code = "configuration-invalid";
  readonly status = 500;
}

/** Message holds `line N`, counted from 1. */
export class RackFileError extends ProvisionError {
  readonly code = "rack-file-invalid";
  readonly status = 400;
}

export class ImageInvalidError extends ProvisionError {
  readonly code = "image-invalid";
  readonly status = 400;
}

export class ImageDigestError extends ProvisionError {
  readonly code = "image-digest-mismatch";
  readonly status = 409;
}

/** Something we need (Redis, disk space, a clock) is not there now. */
export class UnavailableError extends ProvisionError {
  readonly code = "unavailable";
  readonly status = 503;
  override readonly retryable = true;
}
