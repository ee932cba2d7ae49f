/**
 * What an image's bytes must be. A check sees the plain bytes once, in order,
 * as they stream by; it never holds more than a block of them.
 */

export interface FormatCheck {
  /** Looks at the next bytes. @throws ImageInvalidError as soon as something is wrong. */
  write(bytes: Uint8Array): void;
  /** The bytes are over. @throws ImageInvalidError when something is missing. */
  end(): void;
}

export interface Format {
  /** Bytes of the beginning that {@link matches} looks at. */
  readonly headBytes: number;
  /** Whether an image that begins so looks like one of this format. */
  matches(head: Uint8Array): boolean;
  startCheck(): FormatCheck;
}
