import test from "ava";
import { parseRule } from "../../server/rule/rule.ts";
import { emptyRule, requestOf } from "../../web/state/rule-form.ts";

test("a form with a name alone makes a rule that leaves every node alone", (t) => {
  const request = requestOf({ ...emptyRule, name: " spare " });
  t.deepEqual(request, { rule: { name: "spare", match: {} } });
  t.notThrows(() => parseRule(request.rule));
});

test("every field has its member, without white space and empty lines", (t) => {
  const request = requestOf({
    ...{ name: "db", architecture: "arm64", model: "Raspberry Pi *", places: "lab/a, lab/b/1" },
    ...{ tags: "db  fast", serials: "100000001\n\n 100000002 \n", minMemoryMiB: "4096" },
    ...{ minDiskGB: "1.5", image: "debian", disk: "nvme0n1", burnInSeconds: "600" },
    ...{ authorizedKeys: "ssh-ed25519 AAAA ada\n", wipesAny: true, before: "workers" },
  });
  t.deepEqual(request, {
    rule: {
      name: "db",
      match: {
        ...{ architecture: "arm64", model: "Raspberry Pi *", places: ["lab/a", "lab/b/1"] },
        ...{ tags: ["db", "fast"], serials: ["100000001", "100000002"] },
        ...{ minMemoryMiB: 4096, minDiskGB: 1.5 },
      },
      ...{ image: "debian", disk: "nvme0n1", burnInSeconds: 600, wipe: "any" },
      authorizedKeys: ["ssh-ed25519 AAAA ada"],
    },
    before: "workers",
  });
  t.notThrows(() => parseRule(request.rule));
});

test("a rule without an image writes no disk, whatever else was typed", (t) => {
  const { rule } = requestOf({
    ...{ ...emptyRule, name: "spare", disk: "vda", wipesAny: true },
    authorizedKeys: "ssh-ed25519 AAAA ada",
  });
  t.deepEqual(rule, { name: "spare", match: {} });
});
