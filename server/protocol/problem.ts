/** Error documents on the wire: `application/problem+json` (RFC 9457). */

export interface Problem {
  /** `/problems/<code>`; the code is stable, programs match on it. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly instance?: string;
  /** JSON pointers of the fields that were wrong. */
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[];
}
