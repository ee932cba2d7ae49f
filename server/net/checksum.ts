/** The checksum of IPv4, UDP, TCP and ICMPv6 (RFC 1071). */

/** Sum of the 16-bit words from `from` up to `to`; an odd octet counts as the upper half of one. */
export function sumOf(view: DataView, from: number, to: number): number {
  let sum = 0;
  for (let offset = from; offset + 1 < to; offset += 2) sum += view.getUint16(offset);
  return (to - from) % 2 === 1 ? sum + view.getUint8(to - 1) * 256 : sum;
}

/** One's complement of the one's complement sum: what a header carries. */
export function complement(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded >>> 16) + (folded & 0xffff);
  return ~folded & 0xffff;
}
