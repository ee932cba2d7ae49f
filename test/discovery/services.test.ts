import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import {
  readServices,
  type ServiceFiles,
  watchServices,
} from "../../server/discovery/shared/services.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/until.ts";

function directoryOf(t: ExecutionContext, files: Readonly<Record<string, unknown>>): string {
  const directory = temporaryDirectory(t);
  for (const [name, value] of Object.entries(files)) {
    writeFileSync(join(directory, name), typeof value === "string" ? value : JSON.stringify(value));
  }
  return directory;
}

test("a file is a service, offered in its meshes or in all", (t) => {
  const directory = directoryOf(t, {
    deployer: { id: "deployer", params: { port: 1342, tls: true }, groups: ["224.0.0.113"] },
    status: { id: "statusmonitor" },
  });
  t.deepEqual(readServices(directory), {
    services: [
      { id: "deployer", params: { port: 1342, tls: true }, groups: ["224.0.0.113"] },
      { id: "statusmonitor", params: {}, groups: [] },
    ],
    problems: [],
  });
});

test("disabled services and an editor's files are not offered", (t) => {
  const directory = directoryOf(t, {
    deployer: { id: "deployer", disabled: true },
    ".status.swp": { id: "status" },
    "status~": { id: "status" },
  });
  t.deepEqual(readServices(directory), { services: [], problems: [] });
});

test("of equal ids the first file counts, and the other is named", (t) => {
  const directory = directoryOf(t, {
    b: { id: "deployer", params: { port: 2 } },
    a: { id: "deployer", params: { port: 1 } },
  });
  const { services, problems } = readServices(directory);
  t.deepEqual(services, [{ id: "deployer", params: { port: 1 }, groups: [] }]);
  t.deepEqual(problems, [
    `${directory}/b: id deployer is another file's: give it an id of its own`,
  ]);
});

const wrong = [
  ["no JSON", "{", /JSON/],
  ["a list", [], /unknown|id undefined/],
  ["a number", 7, /not a JSON object/],
  ["no id", {}, /id undefined is not 1-30/],
  ["too long an id", { id: "a".repeat(31) }, /is not 1-30/],
  ["marcoboot's own id", { id: "marcoboot" }, /marcoboot's own/],
  ["a parameter that is a list", { id: "a", params: { ports: [1] } }, /neither text, number/],
  ["too many parameters", { id: "a", params: { a: "a".repeat(3000) } }, /3008 octets/],
  ["a group that is none", { id: "a", groups: ["10.0.0.1"] }, /no list of multicast addresses/],
  ["a member nobody knows", { id: "a", param: {} }, /unknown member param/],
  ["disabled as text", { id: "a", disabled: "no" }, /neither true nor false/],
  ["a very large file", `{"id":"a"${" ".repeat(20_000)}}`, /octets, more than 16384/],
] as const;
for (const [title, value, problem] of wrong) {
  test(`a service file with ${title} is named and left out, the others are offered`, (t) => {
    const { services, problems } = readServices(directoryOf(t, { bad: value, good: { id: "b" } }));
    t.deepEqual(
      services.map(({ id }) => id),
      ["b"],
    );
    t.regex(problems.join("\n"), problem);
  });
}

/** What the readings of a watched directory told, one after the other. */
function watched(t: ExecutionContext, directory: string) {
  const readings: ServiceFiles[] = [];
  const services = watchServices(directory, (files) => void readings.push(files));
  t.teardown(() => services.close());
  const ids = () => services.current().map(({ id }) => id);
  return {
    services,
    ids,
    readings,
    offers: (...wanted: string[]) => until(() => ids().join() === wanted.join()),
  };
}

test("a changed file is offered without being asked, and one taken away no longer", async (t) => {
  const directory = directoryOf(t, { a: { id: "a" } });
  const { ids, offers } = watched(t, directory);
  t.deepEqual(ids(), ["a"]);
  writeFileSync(join(directory, "b"), JSON.stringify({ id: "b" }));
  await offers("a", "b");
  rmSync(join(directory, "a"));
  await offers("b");
  t.deepEqual(ids(), ["b"]);
});

test("a file that an editor moves into place is read", async (t) => {
  const directory = directoryOf(t, { a: { id: "a" } });
  const { ids, offers } = watched(t, directory);
  writeFileSync(join(directory, ".a.new"), JSON.stringify({ id: "c" }));
  renameSync(join(directory, ".a.new"), join(directory, "a"));
  await offers("c");
  t.deepEqual(ids(), ["c"]);
});

test("a directory that is not there offers nothing, and is read when asked", (t) => {
  const directory = join(temporaryDirectory(t), "services");
  const { services, ids } = watched(t, directory);
  t.deepEqual(ids(), []);
  mkdirSync(directory);
  writeFileSync(join(directory, "a"), JSON.stringify({ id: "a" }));
  services.reload();
  t.deepEqual(ids(), ["a"]);
});
