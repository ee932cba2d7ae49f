import test from "ava";
import { magicPacket, wakeOnLanDriver } from "../../server/power/drivers/wake-on-lan.ts";
import { hex } from "../support/vectors.ts";

test("a magic packet is six times ff, sixteen times the address, and the SecureOn password", (t) => {
  const sixteen = "525400000a01".repeat(16);
  t.deepEqual(magicPacket("52:54:00:00:0A:01"), hex(`ffffffffffff${sixteen}`));
  t.deepEqual(
    magicPacket("52-54-00-00-0a-01", "01:02:03:04:05:06"),
    hex(`ffffffffffff${sixteen}010203040506`),
  );
});

test("a SecureOn password that is not six octets is refused, and not repeated", (t) => {
  const settings = { mac: "52:54:00:00:0a:01", interface: "eth1", password: "canary" };
  const error = t.throws(() => wakeOnLanDriver.parse(settings), { instanceOf: RangeError });
  t.regex(error?.message ?? "", /^password is not six octets/);
  t.false(error?.message.includes("canary"));
});
