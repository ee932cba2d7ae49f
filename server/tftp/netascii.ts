/** netascii, the text form of RFC 764 that RFC 1350 takes over: LF becomes CR LF, a CR of its own CR NUL. */
export function toNetascii(content: Uint8Array): Uint8Array {
  const special = content.reduce((n, octet) => n + (octet === 0x0a || octet === 0x0d ? 1 : 0), 0);
  const out = new Uint8Array(content.length + special);
  let at = 0;
  for (const octet of content) {
    if (octet === 0x0a) out[at++] = 0x0d;
    out[at++] = octet;
    if (octet === 0x0d) out[at++] = 0;
  }
  return out;
}
