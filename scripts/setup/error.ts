/** What stops a set-up, and what the person in front of it can do. */

export class SetupError extends Error {
  override readonly name = "SetupError";
  /** One line: what to do. */
  readonly remedy: string;

  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.remedy = remedy;
  }
}
