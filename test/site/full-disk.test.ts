/**
 * D42, D46: a real server whose state directory is full. Boot files go out as before, new commitments
 * are refused with the reason and nothing of them is kept, and with room again all is as it was; told
 * to end, it does, though somebody still reads. Root is needed for namespace and file system.
 */

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { ApiError } from "../../scripts/lab/api.ts";
import { createCleanup } from "../../scripts/lab/cleanup.ts";
import { startLabServer } from "../../scripts/lab/lab-server.ts";
import { ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const mebibyte = 1 << 20;
const loader = randomBytes(4 * mebibyte);
const loaderUrl = "http://10.77.0.1:8080/boot/loaders/ipxe-x64.efi";

interface Site {
  readonly place: Namespace;
  readonly directory: string;
  /** The state directory, on a file system of 48 MiB. */
  readonly state: string;
  readonly server: Awaited<ReturnType<typeof startLabServer>>;
}

async function open(t: ExecutionContext, prefix: string): Promise<Site> {
  const place = namespace(t, prefix);
  const directory = temporaryDirectory(t);
  const state = join(directory, "server");
  const loaders = join(directory, "loaders");
  for (const one of [state, loaders]) mkdirSync(one);
  writeFileSync(join(loaders, "ipxe-x64.efi"), loader);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=48m,mode=0700", "tmpfs", state]);
  t.teardown(() => void execFileSync("umount", ["-l", state]));
  ip("-n", place.name, "link", "add", "rack0", "type", "veth", "peer", "name", "rack1");
  ip("-n", place.name, "address", "add", "10.77.0.1/24", "dev", "rack0");
  for (const end of ["rack0", "rack1"]) ip("-n", place.name, "link", "set", end, "up");
  const cleanup = createCleanup((line) => t.log(line));
  t.teardown(() => cleanup.run());
  const server = await startLabServer({
    network: { serverNamespace: place.name, serverInterface: "rack0" },
    directory,
    netinstDirectory: join(directory, "netinst"),
    loadersDirectory: loaders,
    adminPort: 8000,
    settings: { netconsolePort: 0 },
    cleanup,
  });
  t.teardown(() => server.stop());
  return { place, directory, state, server };
}

/** Takes what room there is; the rest of what is written ends with ENOSPC. */
function fill(t: ExecutionContext, state: string): string {
  const ballast = join(state, "ballast");
  t.throws(() => writeFileSync(ballast, Buffer.alloc(64 * mebibyte)), { code: "ENOSPC" });
  t.is(statfsSync(state).bavail, 0);
  return ballast;
}

const statusOf = (place: Namespace) =>
  place.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", loaderUrl);

const night = { effect: "allows", opens: "daily 02:00", minutes: 60, zone: "UTC" };

test("D42: with a full disk nodes get their boot files, and new commitments are refused whole", async (t) => {
  const { place, directory, state, server } = await open(t, "fd");
  const { api } = server;
  await api.send("PUT", "/api/v1/windows/before", night);
  const file = join(directory, "upload");
  writeFileSync(file, randomBytes(2 * mebibyte));
  const upload = () =>
    api.upload("/api/v1/images?name=late&architecture=amd64&format=file", file).then(
      () => undefined,
      (error: unknown) => error,
    );

  const ballast = fill(t, state);
  t.is(statusOf(place), `200 ${loader.length}`);
  const refused = await t.throwsAsync(api.send("PUT", "/api/v1/windows/during", night), {
    instanceOf: ApiError,
  });
  t.is((refused as ApiError).status, 503);
  t.regex(refused?.message ?? "", /unavailable.*(disk is full|cannot be written)/);
  const broken = await upload();
  t.regex(String(broken), /503 .*(no room|cannot be written)/);
  t.is(statusOf(place), `200 ${loader.length}`);
  t.deepEqual(await names(server, "windows"), ["before"]);
  t.deepEqual(await names(server, "images"), []);

  rmSync(ballast);
  await api.send("PUT", "/api/v1/windows/after", night);
  await server.killAndRestart();
  t.deepEqual(await names(server, "windows"), ["after", "before"]);
  t.deepEqual(await names(server, "images"), []);
});

async function names({ api }: Site["server"], what: "windows" | "images") {
  const { items } = await api.get<{ items: readonly { name: string }[] }>(`/api/v1/${what}`);
  return items.map(({ name }) => name).toSorted();
}

test("D46: told to end while a slow reader still fetches, the server ends by itself and starts again", async (t) => {
  const { place, state, server } = await open(t, "fe");
  const left = () =>
    ["redis/redis.pid", "admin.sock"].filter((one) => existsSync(join(state, one)));
  const reader = place.start("curl", "-s", "-o", "/dev/null", "--limit-rate", "20k", loaderUrl);
  const gone = once(reader, "exit");
  // A second one proves that the first was served by then.
  t.is(statusOf(place), `200 ${loader.length}`);
  await server.api.send("PUT", "/api/v1/windows/kept", night);
  t.is(left().length, 2);
  await server.stop(); // kills it after 15 s, which would leave these behind
  t.deepEqual(left(), []);
  reader.kill("SIGKILL"); // what its kernel has taken in would last it minutes
  await gone;
  await server.killAndRestart();
  t.deepEqual(await names(server, "windows"), ["kept"]);
});
