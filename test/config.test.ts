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
  t.is(config.subnets[0]?.secureBoot, "auto");
  t.deepEqual(config.bootHttp, { connections: 1024, connectionsPerClient: 16, idleSeconds: 120 });
});

test("relative directories are relative to the file", (t) => {
  const config = parseConfig(
    `{stateDirectory: state, subnets: [{${subnet}}]}`,
    "/etc/marcoboot/server.yaml",
  );
  t.is(config.stateDirectory, "/etc/marcoboot/state");
});

test("discovery's meshes are multicast addresses, its service files beside the settings", (t) => {
  const discovery = (members: string) =>
    parseConfig(`{discovery: ${members}, subnets: [{${subnet}}]}`, "/etc/marcoboot/server.yaml")
      .discovery;
  t.like(discovery("{groups: [224.0.0.113], services: offers}"), {
    group: "239.77.65.82",
    groups: ["224.0.0.113"],
    services: "/etc/marcoboot/offers",
    dnsSd: true,
  });
  t.throws(() => discovery("{groups: [10.77.0.1]}"), {
    instanceOf: ConfigurationError,
    message: /discovery: 10\.77\.0\.1 is no multicast address/,
  });
});

test("a subnet's mode follows from its pool unless it is named", (t) => {
  const modeOf = (members: string) =>
    parseConfig(`subnets: [{${members}}]`, "server.yaml").subnets[0]?.mode;
  t.is(modeOf(subnet), "reservation");
  t.is(modeOf(`${subnet}, pool: [10.77.0.100, 10.77.0.120]`), "dynamic");
  t.is(modeOf(`${subnet}, mode: auto`), "auto");
  t.is(modeOf("cidr: 10.77.0.0/24, interface: eth0, mode: proxy"), "proxy");
});

test("a class's options are octets, its MAC prefix lower case", (t) => {
  const config = parseConfig(
    `subnets: [{${subnet}, classes: [{name: phones, match: {macPrefix: "AA:BB"}, boot: false,
      options: [{code: 66, text: tftp}, {code: 150, addresses: [10.0.0.5]}, {code: 43, hex: "01 02"}]}]}]`,
    "server.yaml",
  );
  t.deepEqual(config.subnets[0]?.classes, [
    {
      name: "phones",
      match: { macPrefix: "aa:bb" },
      boot: false,
      pool: true,
      options: [
        [66, Uint8Array.of(0x74, 0x66, 0x74, 0x70)],
        [150, Uint8Array.of(10, 0, 0, 5)],
        [43, Uint8Array.of(1, 2)],
      ],
    },
  ]);
});

test("prefixes of Raspberry Pi boards may be written in either case", (t) => {
  const config = parseConfig(
    `{subnets: [{${subnet}}], raspberryPiPrefixes: {"2C:CF:67": raspberry-pi-5}}`,
    "server.yaml",
  );
  t.deepEqual(config.raspberryPiPrefixes, { "2c:cf:67": "raspberry-pi-5" });
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
  ["a mode that is none", `subnets: [{${subnet}, mode: both}]`, /\/mode/],
  ["mode dynamic without a pool", `subnets: [{${subnet}, mode: dynamic}]`, /needs pool/],
  [
    "no reserved range where we give addresses",
    "subnets: [{cidr: 10.77.0.0/24, interface: eth0, mode: auto}]",
    /mode auto needs reserved/,
  ],
  [
    "a route with host bits",
    `subnets: [{${subnet}, routes: [{to: 10.1.2.3/24, via: 10.77.0.2}]}]`,
    /host bits/,
  ],
  [
    "a route longer than 32 bits",
    `subnets: [{${subnet}, routes: [{to: 10.1.2.0/33, via: 10.77.0.2}]}]`,
    /33 is not 0-32/,
  ],
  [
    "a class that would replace the message type",
    `subnets: [{${subnet}, classes: [{name: a, match: {macPrefix: aa}, options: [{code: 53, hex: "02"}]}]}]`,
    /option 53 is the server's own/,
  ],
  [
    "an option with two values",
    `subnets: [{${subnet}, classes: [{name: a, match: {macPrefix: aa}, options: [{code: 66, hex: "02", text: b}]}]}]`,
    /one of hex, text and addresses/,
  ],
  [
    "a class without a match",
    `subnets: [{${subnet}, classes: [{name: a, match: {}}]}]`,
    /classes\/0\/match/,
  ],
  [
    "a board prefix of another firmware",
    `{subnets: [{${subnet}}], raspberryPiPrefixes: {"2c:cf:67": ipxe-x64}}`,
    /raspberryPiPrefixes/,
  ],
  [
    "a word for Secure Boot that is none",
    `{subnets: [{${subnet}, secureBoot: sometimes}]}`,
    /\/subnets\/0\/secureBoot/,
  ],
  [
    "fewer connections per client than a node needs",
    `{subnets: [{${subnet}}], bootHttp: {connectionsPerClient: 1}}`,
    /\/bootHttp\/connectionsPerClient/,
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

test("a command needs its program only", (t) => {
  const { commands } = parseConfig(
    `{commands: {up: {argv: [uptime]}}, subnets: [{${subnet}}]}`,
    "server.yaml",
  );
  t.deepEqual(commands, { up: { argv: ["uptime"], values: {}, timeoutSeconds: 600 } });
  t.throws(() => parseConfig(`{commands: {up: {}}, subnets: [{${subnet}}]}`, "server.yaml"), {
    instanceOf: ConfigurationError,
    message: /\/commands\/up must have required properties argv/,
  });
});
