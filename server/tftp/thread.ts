/**
 * The datagram thread of one interface: it sleeps in poll(2) until datagrams or
 * a message come or a timer is due, takes all that arrived by one system call,
 * and sends all answers to them by one.
 *
 * It owns every transfer, and nothing else: names and peers are judged by the
 * server, whose event loop it never keeps waiting.
 */

import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../clock.ts";
import { Inbox, Outbox, Poll, WakeCounter } from "../net/batch.ts";
import { loadCLibrary } from "../net/c-library.ts";
import { countNames, type FromThread, type ThreadData, type ToThread } from "./thread-messages.ts";
import { Transfers } from "./transfers.ts";
import type { Channel, Content, Via } from "./wire.ts";
import { BatchedWire, pinContent } from "./wire-batched.ts";

/** The process may end while we sleep, and ends no sooner than we look up. */
const longestSleepMs = 200;

await run(workerData as ThreadData);

async function run(data: ThreadData): Promise<void> {
  const c = await loadCLibrary();
  const { monotonic } = systemClock;
  const say = (message: FromThread) => parentPort?.postMessage(message);
  const inbox = new Inbox(c);
  const outbox = new Outbox(c, { segmentation: data.segmentation });
  const wake = new WakeCounter(c);
  const transfers = new Transfers({
    wire: new BatchedWire(outbox, data),
    limits: data.limits,
    ask: (question) => say({ kind: "question", question }),
    ended: (report) => say({ kind: "ended", report }),
  });
  const sockets = ["transfers", "requests", "spare"] as const;
  const poll = new Poll(c, [...sockets.map((via) => data[via]), wake.fd]);
  const counts = new Float64Array(data.counts);
  let closeBy = Number.POSITIVE_INFINITY;
  let segmentation = data.segmentation;

  const receive = (via: Via) => {
    for (let more = true; more; ) {
      const count = inbox.receive(data[via]);
      const at = monotonic();
      for (let index = 0; index < count; index++) {
        const channel: Channel = {
          address: inbox.addressOf(index),
          port: inbox.portOf(index),
          via,
        };
        const start = inbox.startOf(index);
        transfers.receive(inbox.bytes, start, inbox.lengthOf(index), channel, at);
      }
      more = inbox.wasFilledBy(count);
    }
  };
  const listen = () => {
    wake.clear();
    for (let heard = receiveMessage(); heard; heard = receiveMessage()) {
      if (heard.kind === "close") {
        transfers.beginClosing(monotonic());
        closeBy = monotonic() + heard.limitMs;
        continue;
      }
      const { answer } = heard;
      if (answer.kind !== "content") transfers.answer(answer, monotonic());
      else {
        const { shared, ...rest } = answer;
        const content: Content = pinContent(c, new Uint8Array(shared));
        transfers.answer({ ...rest, content }, monotonic());
      }
    }
  };
  const tell = () => {
    const all = { ...transfers.counts, ...outbox.counts, transfers: transfers.size };
    for (const [at, name] of countNames.entries()) counts[at] = all[name];
    if (segmentation && !outbox.segmentation) {
      segmentation = false;
      say({ kind: "no-segmentation" });
    }
  };
  const isOver = () =>
    closeBy <= monotonic() || (closeBy < Number.POSITIVE_INFINITY && transfers.size === 0);

  say({ kind: "ready", wake: wake.fd });
  for (let told = 0; !isOver(); ) {
    const now = monotonic();
    const sleep = Math.max(0, Math.min(longestSleepMs, transfers.nextDue - now, closeBy - now));
    if (poll.wait(sleep)) {
      for (const [at, via] of sockets.entries()) if (poll.isReadable(at)) receive(via);
      if (poll.isReadable(sockets.length)) listen();
    }
    const after = monotonic();
    transfers.expire(after);
    if (closeBy < Number.POSITIVE_INFINITY) transfers.endSilent(after);
    outbox.flush();
    if (after - told >= 1 || sleep > 1) {
      tell();
      told = after;
    }
  }
  transfers.endAll(monotonic());
  outbox.flush();
  tell();
}

function receiveMessage(): ToThread | undefined {
  return parentPort ? receiveMessageOnPort(parentPort)?.message : undefined;
}
