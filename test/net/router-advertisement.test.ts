import test from "ava";
import { encodeNoRouter } from "../../server/net/router-advertisement.ts";
import { mac } from "../support/network.ts";

// Laid out by hand after RFC 8200 §3 and RFC 4861 §4.2; the sum is that of a second implementation.
test("no IPv6 router: between link-local addresses, with lifetime 0", (t) => {
  const ends = ["fe80000000000000505400fffe000001", "fe80000000000000505400fffe00000a"];
  t.is(
    encodeNoRouter(mac("52:54:00:00:00:01"), mac("52:54:00:00:00:0a")).toHex(),
    ["60000000 0010 3a ff", ...ends, "86 00 ddff 00 00 0000 00000000 00000000"]
      .join("")
      .replaceAll(" ", ""),
  );
});
