import test from "ava";
import { powerDrivers } from "../../server/power/registry.ts";
import { commandBench, gpioBench, qemuBench, redfishBench, webhookBench } from "./benches.ts";
import { powerDriverContract } from "./contract.ts";

powerDriverContract("gpio-relay, gpiod 1", gpioBench(1, false));
powerDriverContract("gpio-relay, gpiod 1, active-low", gpioBench(1, true));
powerDriverContract("gpio-relay, gpiod 2", gpioBench(2, false));
powerDriverContract("gpio-relay, gpiod 2, active-low", gpioBench(2, true));
powerDriverContract("redfish", redfishBench);
powerDriverContract("webhook", webhookBench);
powerDriverContract("command", commandBench);
powerDriverContract("qemu", qemuBench);

/** Against Debian's snmpd, ipmi_sim and a network namespace, as root: test/peer/power-*.test.ts. */
const inPeerTests = ["snmp-pdu", "poe-snmp", "ipmi", "wake-on-lan"];
const here = ["gpio-relay", "redfish", "webhook", "command", "qemu"];
const byHand = ["manual"];

test("every driver of the registry has its bench", (t) => {
  const kinds = powerDrivers.map(({ kind }) => kind);
  t.deepEqual(kinds.toSorted(), [...inPeerTests, ...here, ...byHand].toSorted());
});

for (const driver of powerDrivers) {
  test(`${driver.kind}: every setting says what it is, so that a form can ask for it`, (t) => {
    const members = Object.entries(driver.schema.properties);
    const silent = members.filter(([, member]) => !("description" in member));
    t.deepEqual(silent, []);
    t.true(driver.about.length > 10);
  });

  test(`${driver.kind}: a member it does not have, a list and nothing are refused`, (t) => {
    t.throws(() => driver.parse({ colour: "red" }), {
      instanceOf: RangeError,
      message: /no member colour; there are: /,
    });
    for (const value of [undefined, null, [], "on", 5]) {
      t.throws(() => driver.parse(value), { instanceOf: RangeError });
    }
  });
}
