import test from "ava";
import { readReport } from "../../scripts/bench/perfdhcp.ts";

/** As perfdhcp 2.2.0 prints it with `-x t`, shortened to three exchanges. */
const report = `Running: perfdhcp -4 -l eth0 -r 2 -R 100000 -p 2 -x t 10.64.0.1
Scenario: basic.
Multi-thread mode enabled.
***Rate statistics***
Rate: 1.5 4-way exchanges/second, expected rate: 2

***Statistics for: DISCOVER-OFFER***
sent packets: 4
received packets: 3
drops: 1
drops ratio: 25 %

min delay: 0.117 ms
avg delay: 0.202 ms

***Statistics for: REQUEST-ACK***
sent packets: 3
received packets: 3
drops: 0

***Timestamps for packets: DISCOVER-OFFER***
sent / received: 000000.000100 / 000000.000600
sent / received: 000000.500000 / 000000.501000
sent / received: 000001.000000 / 000001.004000

***Timestamps for packets: REQUEST-ACK***
sent / received: 000000.000700 / 000000.000900
sent / received: 000000.501100 / 000000.501400
sent / received: 000001.004100 / 000001.004200
`;

test("a report tells complete exchanges and what a client waits for both answers", (t) => {
  const { medianMs, meanMs, p99Ms, ...counts } = readReport(report, 2);
  t.deepEqual(counts, { sent: 4, complete: 3, completePerSecond: 1.5 });
  t.is(medianMs.toFixed(3), "1.200"); // 1.0 for the OFFER, 0.2 for the ACK
  t.is(meanMs.toFixed(3), "2.033");
  t.is(p99Ms.toFixed(3), "4.300");
});

test("a server that completed nothing is no result", (t) => {
  const nothing = report.replaceAll("received packets: 3", "received packets: 0");
  t.throws(() => readReport(nothing, 2), { message: "not one of 4 exchanges was completed" });
});

test("something else than a report is refused with what it said", (t) => {
  t.throws(() => readReport("Error: no such interface", 2), { message: /no such interface/ });
});
