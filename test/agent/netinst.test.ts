/** The real agent's side of enrolment and check-in, against the real listener. */

import test from "ava";
import type { CheckInAnswer } from "#protocol/agent.ts";
import { connect } from "../../netinst/connection.ts";
import { type EnrolContext, enrol } from "../../netinst/enrol.ts";
import { pinKey } from "../../netinst/trust.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { checkInBody, enrolBody, loopback, macA, startServer } from "./agent-peer.ts";

test("the agent enrols with its token and then checks in by its certificate", async (t) => {
  const { site, listener, windows, knownNode, nodes } = await startServer(t);
  const { id } = knownNode(macA);
  windows.open(macA, "power-on");
  const url = `https://${loopback}:${listener.port}`;
  const stranger = connect(url, site.authorityPem);
  t.teardown(() => stranger.close());
  const quiet = () => undefined;
  const { hardware, architecture, bootId } = enrolBody(macA, undefined);
  const settings = {
    mac: macA,
    architecture,
    bootId,
    token: windows.tokenFor(macA),
    identityDirectory: temporaryDirectory(t),
  };
  const signal = AbortSignal.timeout(100_000);
  const credential = await enrol(
    {
      settings: settings as unknown as EnrolContext["settings"],
      key: pinKey(site.serverKey),
      hardware,
      connection: stranger,
      console: { info: quiet, warn: quiet, take: () => [] },
    },
    signal,
  );
  const connection = connect(url, site.authorityPem, credential);
  t.teardown(() => connection.close());
  const answer = (await connection.post(
    "/agent/v1/check-in",
    checkInBody,
    signal,
  )) as CheckInAnswer;
  t.is(answer.nodeId, id);
  t.is(nodes.get(id)?.agent?.role, "netinst");
  t.is(await connection.get("/agent/v1/assignment?wait=0", 5000, signal), undefined);
});
