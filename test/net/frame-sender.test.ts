import test from "ava";
import { encodeDatagram, openFrameSender } from "../../server/net/frame-sender.ts";
import { ip } from "../support/network.ts";

// Laid out by hand after RFC 791 §3.1 and RFC 768; the sums are those of a second implementation.
test("headers and checksums of a datagram", (t) => {
  const packet = encodeDatagram({
    from: ip("10.77.0.1"),
    fromPort: 67,
    to: ip("10.77.0.10"),
    toPort: 68,
    payload: Uint8Array.of(1, 2, 3),
  });
  t.is(
    packet.toHex(),
    ["4500 001f 0000 4000 40 11 262a 0a4d0001 0a4d000a", "0043 0044 000b e6aa", "010203"]
      .join("")
      .replaceAll(" ", ""),
  );
});

test("an interface that is not there has no sender", async (t) => {
  t.is(await openFrameSender("none0"), undefined);
});
