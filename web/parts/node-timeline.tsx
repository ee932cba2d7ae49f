/** Why a node is stuck, and what was heard of it. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Node } from "#protocol/node.ts";
import type { Finding, Timeline } from "#protocol/timeline.ts";
import { call } from "../api.ts";
import type { Followed } from "../state/follow.ts";
import { followTimeline } from "../state/timeline.ts";
import type { PageContext } from "./context.ts";
import { Moment } from "./moment.tsx";

const words: Readonly<Record<Finding["severity"], string>> = {
  problem: "Problem: ",
  hint: "Perhaps: ",
  ok: "",
};

export function NodeTimeline({ node, context }: { node: Node; context: PageContext }) {
  const live = useSignal<Followed<Timeline> | undefined>(undefined);
  // Another node is another time line; a change of the same one is not.
  useEffect(() => {
    const followed = followTimeline(node, {
      news: context.site.news,
      fetch: () => call<Timeline>("GET", `/api/v1/nodes/${node.id}/timeline?limit=200`),
      later: (work, delayMs) => {
        const timer = setTimeout(work, delayMs);
        return () => clearTimeout(timer);
      },
    });
    live.value = followed;
    return () => followed.stop();
  }, [node.id]);
  const timeline = live.value?.answer.value;
  if (live.value?.failed.value) return <p class="quiet">The time line could not be read.</p>;
  if (timeline?.mac !== node.mac) return null;
  return (
    <>
      <ul class="plain-list findings" aria-label="Diagnosis">
        {timeline.findings.map((finding) => (
          <li key={finding.code} class={`finding finding-${finding.severity}`}>
            <b>{words[finding.severity]}</b>
            {finding.text}
            {finding.remedy !== undefined && finding.severity !== "ok" && (
              <p class="quiet">{finding.remedy}</p>
            )}
          </li>
        ))}
      </ul>
      <details class="moments">
        <summary>Time line</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolled box must be reachable by keyboard */}
        <section class="moment-list" tabIndex={0} aria-label="Time line of the node">
          <ol class="plain-list">
            {timeline.moments.toReversed().map((moment) => (
              <li key={`${moment.at} ${moment.text}`} class={moment.isFault ? "alarm" : ""}>
                <span class="quiet">
                  <Moment at={moment.at} /> {moment.source}
                </span>{" "}
                {moment.text}
                {moment.times > 1 && ` (${moment.times} times)`}
              </li>
            ))}
          </ol>
        </section>
      </details>
    </>
  );
}
