import test from "ava";
import { powerDrivers } from "../../server/power/registry.ts";
import { type Driver, fieldsOf, settingsOf, valuesOf } from "../../web/state/outlet-form.ts";

const drivers = powerDrivers.map(({ kind, about, schema }) => {
  return { kind, about, settings: JSON.parse(JSON.stringify(schema)) } as Driver;
});
const driver = (kind: string): Driver => {
  const found = drivers.find((one) => one.kind === kind);
  if (!found) throw new Error(`no driver ${kind}`);
  return found;
};

test("every member of every driver has a field that says what it is", (t) => {
  for (const one of drivers) {
    for (const field of fieldsOf(one)) {
      t.true(field.about !== "", `${one.kind} ${field.name}`);
      t.is(field.kind === "choice", field.words.length > 0, `${one.kind} ${field.name}`);
    }
  }
});

test("a schema says how a member is asked for", (t) => {
  const kinds = Object.fromEntries(
    ["gpio-relay", "snmp-pdu", "ipmi", "command"].flatMap((kind) =>
      fieldsOf(driver(kind)).map((field) => [`${kind} ${field.name}`, field]),
    ),
  );
  t.like(kinds["gpio-relay line"], { kind: "number", isNeeded: true, minimum: 0, maximum: 1023 });
  t.like(kinds["gpio-relay chip"], { kind: "text", isNeeded: false, usual: "gpiochip0" });
  t.like(kinds["gpio-relay activeLow"], { kind: "flag", usual: "false" });
  t.like(kinds["snmp-pdu preset"], { kind: "choice", usual: "apc-rpdu" });
  t.like(kinds["snmp-pdu community"], { kind: "secret", isNeeded: false });
  t.deepEqual(kinds["ipmi cipherSuite"]?.words, ["3", "17"]);
  t.like(kinds["command command"], { kind: "lines", isNeeded: true });
});

const rows: readonly (readonly [kind: string, settings: Record<string, unknown>])[] = [
  ["gpio-relay", { line: 18, activeLow: true }],
  ["ipmi", { host: "10.0.0.5", user: "ada", password: { kept: true }, cipherSuite: 17 }],
  ["snmp-pdu", { host: "10.0.0.5", outlet: "5", community: { kept: true }, offSeconds: 2.5 }],
  ["command", { command: ["switch-strip", "{outlet}", "{state}"], outlet: "a1", canQuery: true }],
  ["manual", {}],
];
for (const [kind, settings] of rows) {
  test(`what the form of ${kind} shows is what it sends back`, (t) => {
    const fields = fieldsOf(driver(kind));
    t.deepEqual(settingsOf(driver(kind), fields, valuesOf(fields, settings), settings), settings);
  });
}

test("a secret that is typed replaces the kept one, an emptied member is left out", (t) => {
  const ipmi = driver("ipmi");
  const before = { host: "h", user: "u", password: { kept: true }, cipherSuite: 3 };
  const values = { host: "h", user: "v", password: "new", cipherSuite: "" };
  const settings = settingsOf(ipmi, fieldsOf(ipmi), values, before);
  t.deepEqual(settings, { host: "h", user: "v", password: "new" });
});
