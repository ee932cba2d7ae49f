import { fc, testProp } from "@fast-check/ava";
import test from "ava";
import { netinstGrubConfig } from "../../server/boot/grub-script.ts";
import { kernelWord } from "../../server/boot/kernel-line.ts";
import { client, laboratory, node, pc, pi3, server, token } from "./setup.ts";

test("GRUB gets its configuration by the address it asks from", (t) => {
  const { tftp, windows, boot } = laboratory(t);
  boot.reply(client(pc, { firmware: "uefi-pxe-x64" }), server);
  windows.set(pc, token);
  t.is(
    tftp("/grub/grub.cfg", pc),
    [
      "echo 'marcoboot: 52:54:00:00:00:01 boots netinst (amd64), signed'",
      "if linux /boot/netinst/amd64/kernel marcoboot.url=http://10.77.0.1:8080 " +
        `marcoboot.mac=52:54:00:00:00:01 marcoboot.enrol=${token} ` +
        "rootfstype=ramfs panic=30 console=tty0 console=ttyS0,115200; then",
      "  if initrd /boot/netinst/amd64/initrd; then boot; fi",
      "fi",
      "echo 'marcoboot: netinst could not be loaded, asking again in 10 s'",
      "sleep 10",
      "configfile /grub/grub.cfg",
      "",
    ].join("\n"),
  );
});

test("the same by HTTP, for a GRUB that came by HTTP", (t) => {
  const { http, boot } = laboratory(t);
  boot.reply(client(pc, { firmware: "uefi-http-arm64" }), server);
  t.regex(http("grub/grub.cfg", pc) ?? "", /linux \/boot\/netinst\/arm64\/kernel /);
});

test("an address that is not ours is sent on by MAC address, without a token", (t) => {
  const { tftp, windows } = laboratory(t);
  windows.set(pc, token);
  const stranger = pc.replace("01", "77") as typeof pc;
  t.is(tftp("grub/grub.cfg", stranger), "configfile /grub/node/$" + "{net_default_mac}/grub.cfg\n");
  const text = tftp("grub/node/52:54:00:00:00:01/grub.cfg", stranger) ?? "";
  t.regex(text, /marcoboot\.mac=52:54:00:00:00:01/);
  t.notRegex(text, /enrol/);
  t.regex(tftp("grub/node/52:54:00:00:00:01/grub.cfg", pc) ?? "", new RegExp(token));
  t.notRegex(tftp("grub/node/52:54:00:00:00:01/grub.cfg", pi3) ?? "", /enrol/);
});

test("an installed node is handed back to its firmware", (t) => {
  const { tftp, nodes } = laboratory(t);
  nodes.set(pc, node(pc, { state: "installed" }));
  t.regex(tftp("grub/grub.cfg", pc) ?? "", /\nexit\n$/);
});

test("GRUB finds kernel and initrd by TFTP, only from an address with a lease", (t) => {
  const { tftp } = laboratory(t);
  const stranger = pc.replace("01", "77") as typeof pc;
  t.is(tftp("/boot/netinst/amd64/kernel", pc), "kernel amd64");
  t.regex(tftp("/boot/netinst/amd64/initrd", pc) ?? "", /^stage1/);
  t.is(tftp("/boot/netinst/amd64/kernel", stranger), undefined);
});

// C33: whatever words a kernel line may hold, GRUB's reader takes each as one word.
testProp(
  "the linux command has exactly one word more than the kernel line, and the name of the kernel",
  [fc.array(fc.stringMatching(/^[A-Za-z0-9_.,:=/@+-]+$/), { minLength: 1, maxLength: 20 })],
  (t, texts) => {
    const words = texts.map(kernelWord);
    const text = netinstGrubConfig({ mac: pc, architecture: "amd64", words });
    const line = text.split("\n").find((one) => one.includes("linux "));
    const command = /^if linux (?<words>[^;"'$\\&|<>#{}]*); then$/.exec(line ?? "");
    t.deepEqual(command?.groups?.["words"]?.split(" "), ["/boot/netinst/amd64/kernel", ...texts]);
  },
);
