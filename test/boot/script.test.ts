import test from "ava";
import type { FirmwareName } from "#protocol/firmware.ts";
import { kernelWord, netinstKernelLine } from "../../server/boot/kernel-line.ts";
import { InvalidInputError } from "../../server/errors.ts";
import { client, laboratory, node, pc, pi3, server, token } from "./setup.ts";

const name = "boot/node/52-54-00-00-00-01/boot.ipxe";
const scripts: readonly (readonly [firmware: FirmwareName, arch: string, consoles: string])[] = [
  ["ipxe-bios", "amd64", "console=tty0 console=ttyS0,115200"],
  ["ipxe-x64", "amd64", "console=tty0 console=ttyS0,115200"],
  ["ipxe-arm64", "arm64", "console=ttyAMA0,115200"],
];
for (const [firmware, arch, consoles] of scripts) {
  test(`the script of ${firmware} loads netinst for ${arch}`, (t) => {
    const { boot, http } = laboratory(t);
    boot.reply(client(pc, { firmware, ipxe: true }), server);
    t.is(
      http(name, pc),
      [
        "#!ipxe",
        `echo marcoboot: 52:54:00:00:00:01 boots netinst (${arch}) from http://10.77.0.1:8080`,
        `kernel --name kernel http://10.77.0.1:8080/boot/netinst/${arch}/kernel initrd=initrd marcoboot.url=http://10.77.0.1:8080 marcoboot.mac=52:54:00:00:00:01 rootfstype=ramfs panic=30 ${consoles} || goto failed`,
        `initrd --name initrd http://10.77.0.1:8080/boot/netinst/${arch}/initrd || goto failed`,
        "boot || goto failed",
        ":failed",
        "echo marcoboot: netinst could not be loaded, asking again in 10 s",
        "sleep 10",
        "imgfree",
        `chain --replace --autofree http://10.77.0.1:8080/${name} || goto failed`,
        "",
      ].join("\n"),
    );
  });
}

test("after a restart of the server the architecture comes from the journal", (t) => {
  const { http, nodes } = laboratory(t);
  nodes.set(pc, node(pc, { firmware: "uefi-pxe-arm64" }));
  t.regex(http(name, pc) ?? "", /netinst\/arm64\/kernel/);
});

test("an installed node gets the script that ends iPXE for its own disk", (t) => {
  const { http, nodes } = laboratory(t);
  nodes.set(pc, node(pc, { state: "installed" }));
  t.is(
    http(name, pc),
    [
      "#!ipxe",
      "echo marcoboot: 52:54:00:00:00:01 boots its own disk",
      "iseq $" + "{platform} efi && exit 1 || exit",
      "",
    ].join("\n"),
  );
});

test("the token is in the script only while the window is open", (t) => {
  const { http, windows } = laboratory(t);
  t.notRegex(http(name, pc) ?? "", /marcoboot\.enrol/);
  windows.set(pc, token);
  t.regex(http(name, pc) ?? "", new RegExp(` marcoboot\\.enrol=${token} `));
  windows.delete(pc);
  t.notRegex(http(name, pc) ?? "", /marcoboot\.enrol/);
});

test("the token is not told to another address", (t) => {
  const { http, windows } = laboratory(t);
  windows.set(pc, token);
  const script = http(name, pi3);
  t.regex(script ?? "", /marcoboot\.mac=52:54:00:00:00:01/);
  t.notRegex(script ?? "", /enrol/);
});

test("words from the configuration come last", (t) => {
  const { http } = laboratory(t, { kernelArguments: ["console=ttyS1,115200", "debug"] });
  t.regex(http(name, pc) ?? "", /ttyS0,115200 console=ttyS1,115200 debug \|\| goto failed\n/);
});

const injections = [
  "a b",
  "a\nb",
  "$" + "{net0/mac}",
  'a"b',
  "a'b",
  "a;b",
  "a||b",
  "a&&b",
  "a\\b",
  "ä",
];
for (const text of injections) {
  test(`${JSON.stringify(text)} is no word of a kernel line`, (t) => {
    t.throws(() => kernelWord(text), { instanceOf: InvalidInputError });
    const request = { url: "http://10.77.0.1", mac: pc, firmware: "ipxe-bios", extra: [] } as const;
    t.throws(() => netinstKernelLine({ ...request, token: text }), {
      instanceOf: InvalidInputError,
    });
    t.throws(() => netinstKernelLine({ ...request, extra: [text] }), {
      instanceOf: InvalidInputError,
    });
  });
}

test("nothing is no word of a kernel line", (t) => {
  t.throws(() => kernelWord(""), { instanceOf: InvalidInputError });
});

test("a line longer than the kernel takes is refused", (t) => {
  const extra = Array.from({ length: 300 }, (_, at) => `word${at}=1`);
  t.throws(
    () => netinstKernelLine({ url: "http://10.77.0.1", mac: pc, firmware: "ipxe-bios", extra }),
    { message: /longer than 2047/ },
  );
});
