/**
 * TFTP over a cable between two namespaces, with what happens on cables: datagrams
 * that are lost, an MTU that is smaller than asked or becomes smaller, and senders
 * that have no business here.
 */

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import { cable, ip, type Namespace, namespace } from "../support/namespaces.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const child = new URL("./tftp-child.ts", import.meta.url).pathname;
const asker = new URL("./tftp-asker.ts", import.meta.url).pathname;
/** By its path: an npm package has a program of the same name. */
const nftables = "/usr/sbin/nft";
const serverAddress = "10.77.0.1";
const engines = ["batched", "unsegmented", "portable"] as const;
const content = Buffer.from(
  Uint8Array.from({ length: 1_000_003 }, (_, at) => (at * 73 + (at >> 9)) & 0xff),
);
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

interface Laid {
  readonly server: Namespace;
  readonly client: Namespace;
  readonly directory: string;
  /** Ends the server; what it counted. */
  counts(): Promise<Record<string, number>>;
}

/** @param mtu - of both ends */
async function lay(
  t: ExecutionContext,
  tftp: Readonly<Record<string, unknown>>,
  mtu = 1500,
  served = content,
): Promise<Laid> {
  const server = namespace(t, "ts");
  const client = namespace(t, "tc");
  cable(
    { in: server, name: "lan0", address: `${serverAddress}/24` },
    { in: client, name: "lan0", mac: "52:54:00:77:00:02" },
  );
  ip("-n", client.name, "address", "add", "10.77.0.2/24", "dev", "lan0");
  ip("-n", client.name, "address", "add", "10.99.0.2/24", "dev", "lan0");
  for (const one of [server, client]) {
    ip("-n", one.name, "link", "set", "lan0", "mtu", String(mtu));
    // Else a row would cross the cable as one large packet, and be captured or lost as one.
    one.run("ethtool", "-K", "lan0", "tx-udp-segmentation", "off");
  }
  ip("-n", server.name, "route", "add", "10.99.0.0/24", "dev", "lan0");
  const directory = temporaryDirectory(t);
  const path = join(directory, "content");
  writeFileSync(path, served);
  const started = server.start(
    process.execPath,
    ...[child, "lan0", serverAddress, path, JSON.stringify(tftp)],
  );
  if (!started.stdout) throw new RangeError("no standard output");
  const lines = createInterface({ input: started.stdout })[Symbol.asyncIterator]();
  const { value: ready } = await lines.next();
  const portable = tftp["engine"] === "portable";
  t.is(ready, portable ? "ready portable" : "ready batched");
  return {
    server,
    client,
    directory,
    counts: async () => {
      started.kill("SIGTERM");
      return JSON.parse(String((await lines.next()).value)) as Record<string, number>;
    },
  };
}

/** atftp is the one client of Debian that asks for windows. */
function fetch({ client, directory }: Laid, blksize: number, windowsize: number): string {
  const to = join(directory, `got-${blksize}-${windowsize}`);
  const option = (text: string) => ["--option", text];
  client.run(
    "atftp",
    ...["--get", "--remote-file", "kernel", "--local-file", to],
    ...option(`blksize ${blksize}`),
    ...(windowsize > 1 ? option(`windowsize ${windowsize}`) : []),
    ...option("timeout 1"),
    serverAddress,
  );
  return digest(readFileSync(to));
}

/**
 * {@link fetch} where datagrams are lost. atftp aborts at a second OACK once it has the first, though
 * the server must repeat it when the client's ACK 0 was lost (RFC 2347): it is started again then.
 */
function fetchAgain(laid: Laid, blksize: number, windowsize: number): string {
  for (let tries = 1; ; tries += 1) {
    try {
      return fetch(laid, blksize, windowsize);
    } catch (error) {
      if (tries === 5 || !String(error).includes("unexpected OACK")) throw error;
    }
  }
}

/** Drops a part of all IPv4 datagrams that come in, at both ends. */
function lose({ server, client }: Laid, percent: number): void {
  for (const one of [server, client]) {
    const nft = (...words: readonly string[]) => one.run(nftables, ...words);
    nft("add", "table", "ip", "loss");
    nft("add chain ip loss in { type filter hook input priority 0; }");
    nft(`add rule ip loss in udp dport 1-65535 numgen random mod 100 < ${percent} drop`);
  }
}

for (const engine of engines) {
  test.serial(`${engine}: a file arrives whole while 5 % of the datagrams are lost`, async (t) => {
    const part = content.subarray(0, 300_003); // atftp waits 5 s after a loss it cannot tell
    const laid = await lay(t, { engine }, 1500, part);
    lose(laid, 5);
    t.is(fetchAgain(laid, 1428, 16), digest(part));
    t.is(fetchAgain(laid, 1428, 4), digest(part));
    t.true(((await laid.counts())["repeated"] ?? 0) > 0);
  });

  for (const mtu of [1500, 1280, 9000]) {
    test.serial(
      `${engine}: over an MTU of ${mtu} no datagram is larger, none a fragment`,
      async (t) => {
        const laid = await lay(t, { engine }, mtu);
        const capture = laid.client.start(
          ...(["tcpdump", "-i", "lan0", "-n", "-l", "--immediate-mode"] as const),
          `udp and src host ${serverAddress} and (greater ${mtu + 15} or ip[6:2] & 0x3fff != 0)`,
        );
        let seen = "";
        capture.stdout?.on("data", (bytes) => {
          seen += bytes;
        });
        t.is(fetch(laid, 65464, 8), digest(content));
        t.is(fetch(laid, 65464, 1), digest(content));
        capture.kill("SIGINT");
        await new Promise((resolve) => capture.once("close", resolve));
        t.is(seen.trim(), "");
      },
    );
  }

  test.serial(`${engine}: allowed fragments carry blocks above the MTU`, async (t) => {
    const laid = await lay(t, { engine, allowFragments: true });
    t.is(fetch(laid, 65464, 1), digest(content));
    const { datagrams = 0, repeated = 0 } = await laid.counts();
    t.is(datagrams - repeated, 17); // the OACK and 16 blocks
  });

  test.serial(`${engine}: an MTU that becomes smaller does not end the service`, async (t) => {
    const laid = await lay(t, { engine });
    t.is(fetch(laid, 1468, 16), digest(content));
    ip("-n", laid.server.name, "link", "set", "lan0", "mtu", "1000");
    t.is(fetch(laid, 1468, 16), digest(content));
  });

  test.serial(`${engine}: broadcasts, foreign networks and low ports get no answer`, async (t) => {
    const laid = await lay(t, { engine });
    const questions = [
      { from: ["10.77.0.2", 4001], to: "10.77.0.255" },
      { from: ["10.77.0.2", 4002], to: "255.255.255.255" },
      { from: ["10.99.0.2", 4003], to: serverAddress },
      { from: ["10.77.0.2", 1023], to: serverAddress },
      { from: ["10.77.0.2", 53], to: serverAddress },
      { from: ["10.77.0.2", 4004], to: serverAddress },
    ];
    t.is(laid.client.run(process.execPath, asker, JSON.stringify(questions)), "[5]");
    const { lowPort, unknown, datagrams } = await laid.counts();
    t.deepEqual({ lowPort, unknown, datagrams }, { lowPort: 2, unknown: 1, datagrams: 1 });
  });
}
