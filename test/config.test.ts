import test from "ava";
import { parseConfig } from "../server/config.ts";
import { ConfigurationError } from "../server/errors.ts";

const subnet = "cidr: 10.77.0.0/24, interface: eth0, reserved: [10.77.0.10, 10.77.0.99]";

test("defaults fill what a minimal file leaves out", (t) => {
  const config = parseConfig(`subnets: [{${subnet}}]`, "/etc/marcoboot/server.yaml");
  t.is(config.bootPort, 8080);
  t.is(config.adminAddress, "127.0.0.1");
  t.is(String(config.subnets[0]?.netmask), "255.255.255.0");
  t.is(String(config.subnets[0]?.broadcast), "10.77.0.255");
  t.is(config.subnets[0]?.pool, undefined);
});

test("relative directories are relative to the file", (t) => {
  const config = parseConfig(
    `{stateDirectory: state, subnets: [{${subnet}}]}`,
    "/etc/marcoboot/server.yaml",
  );
  t.is(config.stateDirectory, "/etc/marcoboot/state");
});

const refused: readonly (readonly [title: string, text: string, message: RegExp])[] = [
  ["no subnet", "subnets: []", /\/subnets/],
  ["a misspelt member", `{subnets: [{${subnet}}], bootport: 80}`, /bootport/],
  ["a port that is none", `{subnets: [{${subnet}}], bootPort: 70000}`, /\/bootPort/],
  ["broken YAML", "subnets: [", /server\.yaml/],
  ["host bits in the network", `subnets: [{${subnet.replace("0.0/24", "0.1/24")}}]`, /host bits/],
  [
    "an address outside",
    `subnets: [{${subnet.replace("0.99", "1.99")}}]`,
    /10\.77\.1\.99 is outside/,
  ],
  [
    "a range that ends before it begins",
    `subnets: [{${subnet.replace("0.99", "0.9")}}]`,
    /ends before/,
  ],
  [
    "the broadcast address in a range",
    `subnets: [{${subnet.replace("0.99", "0.255")}}]`,
    /broadcast/,
  ],
  [
    "a pool over the reserved range",
    `subnets: [{${subnet}, pool: [10.77.0.99, 10.77.0.120]}]`,
    /pool overlaps reserved/,
  ],
  [
    "a reply delay of a firmware that is none",
    `{subnets: [{${subnet}}], replyDelaySeconds: {raspberry-pi-9: 2}}`,
    /replyDelaySeconds.*raspberry-pi-9/,
  ],
  [
    "a reply delay that outlasts the client",
    `{subnets: [{${subnet}}], replyDelaySeconds: {raspberry-pi-3: 11}}`,
    /replyDelaySeconds\/raspberry-pi-3/,
  ],
  [
    "a kernel argument with a space",
    `{subnets: [{${subnet}}], kernelArguments: ["a b"]}`,
    /kernelArguments/,
  ],
];
for (const [title, text, message] of refused) {
  test(`${title} is refused, by name`, (t) => {
    t.throws(() => parseConfig(text, "server.yaml"), { instanceOf: ConfigurationError, message });
  });
}
