import test from "ava";
import { type SwitchPort, switchPortText } from "#protocol/switch-port.ts";

const port: SwitchPort = { protocol: "lldp", chassis: "02:00:00:00:00:01", port: "7" };
const rows: readonly (readonly [title: string, port: SwitchPort, text: string])[] = [
  ["by the switch's id", port, "7 of 02:00:00:00:00:01, by LLDP"],
  ["by the switch's name", { ...port, system: "sw1" }, "7 of sw1, by LLDP"],
  [
    "with its description",
    { ...port, system: "sw1", description: "Port 7" },
    "7 (Port 7) of sw1, by LLDP",
  ],
  [
    "without a description that repeats it",
    { ...port, description: "7" },
    "7 of 02:00:00:00:00:01, by LLDP",
  ],
  ["heard by CDP", { ...port, protocol: "cdp", system: "sw1" }, "7 of sw1, by CDP"],
];
for (const [title, one, text] of rows) {
  test(`a switch port in words: ${title}`, (t) => {
    t.is(switchPortText(one), text);
  });
}
