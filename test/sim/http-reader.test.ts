import test from "ava";
import { type Milliseconds, parseMacAddress } from "#protocol/brand.ts";
import { Board } from "../../server/sim/board.ts";
import type { Firmware } from "../../server/sim/firmware/firmware.ts";
import { decodeFrame, encodeTcp, type TcpFrame, tcpFlags } from "../../server/sim/frame.ts";
import { fetchByHttp } from "../../server/sim/http-reader.ts";
import type { Ending, Program } from "../../server/sim/program.ts";

const server = { address: 0x0a4d_0001, mac: Uint8Array.of(2, 0, 0, 0, 0, 1) };
const address = 0x0a4d_0064;
const { syn, ack, fin, reset, push } = tcpFlags;
const nothing = new Uint8Array(0);
const latin1 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"));

/** A board that fetches one URL, and the peer's end of its connection. */
function exchange() {
  const sent: TcpFrame[] = [];
  let now = 0;
  const firmware: Firmware = {
    name: "fetcher",
    about: "",
    firstMac: parseMacAddress("52:54:00:00:00:01"),
    station: { ttl: 64, udpChecksum: true, answersArp: "always" },
    *boot(board): Program<Ending> {
      board.station.address = address;
      const url = new URL("http://10.77.0.1:8080/boot/x?y=1");
      const fetched = yield* fetchByHttp(board, server, url);
      const reason = fetched.kind === "failed" ? fetched.reason : fetched.kind;
      return fetched.kind === "file" ? { outcome: "booted" } : { outcome: "failed", reason };
    },
  };
  const board = new Board(
    {
      ...{ index: 0, mac: firmware.firstMac, firmware, poweredAt: 0, timeoutMs: 60_000 },
      ...{ keepOctets: 65_536, random: () => 0.5 },
    },
    (frame) => {
      const decoded = decodeFrame(frame);
      if (decoded?.kind === "tcp") sent.push(decoded);
    },
  );
  board.wake(0);
  let sequence = 1000;
  return {
    board,
    sent,
    last: () => sent.at(-1),
    /** The peer's segment; its sequence number goes on by itself unless `at` says where it is. */
    say(flags: number, payload: Uint8Array = nothing, at = sequence): void {
      const mine = sent.at(-1);
      if (!mine) throw new Error("nothing was sent");
      board.hear(
        encodeTcp({
          ...{ sourceMac: server.mac, destinationMac: board.station.macBytes, ttl: 64 },
          ...{ source: server.address, destination: address, window: 65_535 },
          ...{ sourcePort: mine.destinationPort, destinationPort: mine.sourcePort },
          ...{ sequence: at, acknowledgement: after(mine), flags, payload },
        }),
        now,
      );
      if (at === sequence) {
        sequence = (at + payload.length + (flags & (syn | fin) ? 1 : 0)) >>> 0;
      }
    },
    wait(ms: number): void {
      const until = (now + ms) as Milliseconds;
      while (board.deadline <= until) {
        now = board.deadline;
        board.wake(now);
      }
      now = until;
    },
  };
}

const after = ({ sequence, payload, flags }: TcpFrame): number =>
  (sequence + payload.length + (flags & (syn | fin) ? 1 : 0)) >>> 0;

test("a file over HTTP: three-way handshake, GET, body, end of both halves", (t) => {
  const { say, last, board, sent } = exchange();
  t.is(last()?.flags, syn);
  say(syn | ack);
  const request = Buffer.from(last()?.payload ?? nothing).toString("latin1");
  t.regex(request, /^GET \/boot\/x\?y=1 HTTP\/1\.1\r\nHost: 10\.77\.0\.1:8080\r\n/);
  say(ack | push, latin1("HTTP/1.1 200 OK\r\nContent-Le"));
  say(ack | push, latin1("ngth: 10\r\n\r\n01234"));
  t.is(last()?.acknowledgement, 1001 + 44);
  say(ack | push, latin1("56789"));
  t.is(sent.at(-1)?.flags, fin | ack);
  say(ack | fin);
  t.deepEqual(board.ending, { outcome: "booted" });
  t.like(board.files[0], { bytes: 10, crc32: "a684c7c6" });
});

test("what comes early waits for what is missing; a repetition changes nothing, an overlap only what is new", (t) => {
  const { say, last, board } = exchange();
  say(syn | ack);
  const head = latin1("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
  const body = (digits: string) =>
    say(ack, latin1(digits), 1001 + head.length + Number(digits.at(0)));
  say(ack, head);
  body("67");
  body("4");
  body("67");
  t.is(last()?.acknowledgement, 1001 + head.length, "where it is");
  body("01");
  body("01");
  body("123");
  t.is(last()?.acknowledgement, 1001 + head.length + 5);
  body("3456");
  t.is(last()?.acknowledgement, 1001 + head.length + 8);
  body("789");
  say(ack | fin, nothing, 1001 + head.length + 10);
  t.like(board.files[0], { bytes: 10, crc32: "a684c7c6" });
});

test("a lost SYN and a lost request are sent again", (t) => {
  const { say, sent, wait } = exchange();
  wait(1000);
  t.deepEqual(
    sent.map(({ flags }) => flags),
    [syn, syn],
  );
  say(syn | ack);
  const before = sent.length;
  wait(1000);
  t.true(sent.length > before);
  t.true((sent.at(-1)?.payload.length ?? 0) > 0);
});

const endings = [
  ["a connection refused", reset | ack, "", /no connection/],
  ["status 500", syn | ack, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", /status 500/],
  ["status 404", syn | ack, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", /not-found/],
  ["chunks", syn | ack, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", /no Content-L/],
  [
    "an end too early",
    syn | ack,
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1",
    /cut off after 1/,
  ],
] as const;
for (const [title, first, answer, reason] of endings) {
  test(`${title} ends in a reason`, (t) => {
    const { say, board, wait } = exchange();
    say(first);
    if (answer !== "") say(ack, latin1(answer));
    if (answer !== "" && !board.ending) say(ack | fin);
    wait(1000);
    const { ending } = board;
    t.regex(ending?.outcome === "failed" ? ending.reason : String(ending?.outcome), reason);
  });
}

test("a server that falls silent is given up", (t) => {
  const { say, board, wait } = exchange();
  say(syn | ack);
  wait(40_000);
  t.regex(JSON.stringify(board.ending), /no answer/);
});
