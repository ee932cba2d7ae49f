/** How busy the node is, live; it measures only while this is shown. */

import { useEffect, useState } from "preact/hooks";
import type { NodeLoad as Load } from "#protocol/load.ts";
import { loadTexts } from "#protocol/load-text.ts";
import type { Node } from "#protocol/node.ts";
import { kept, type LoadWatch, watchLoad } from "../state/load.ts";
import { openStream } from "../stream.ts";

function later(work: () => void, delayMs: number): () => void {
  const timer = setTimeout(work, delayMs);
  return () => clearTimeout(timer);
}

export function NodeLoad({ node }: { node: Node }) {
  const [watch, setWatch] = useState<LoadWatch>();
  const isOnline = node.connection === "online";
  useEffect(() => {
    if (!isOnline) return;
    const mine = watchLoad(node.id, { openStream, later });
    setWatch(mine);
    return () => {
      mine.stop();
      setWatch(undefined);
    };
  }, [node.id, isOnline]);
  const samples = watch?.samples.value ?? [];
  const last = samples.at(-1);
  if (!last) return null;
  return (
    <>
      <h3>
        Load {watch?.isStale.value && <span class="chip chip-queued">no answer for 3 s</span>}
      </h3>
      <Curve samples={samples} />
      <dl class={watch?.isStale.value ? "facts is-stale" : "facts"}>
        {loadTexts(last).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

/** Processor of the last minute; the numbers below say the same to whoever cannot see it. */
function Curve({ samples }: { samples: readonly Load[] }) {
  const points = samples.map(({ cpuPercent }, index) => {
    const x = kept - samples.length + index;
    return `${x},${(100 - cpuPercent) / 4}`;
  });
  return (
    <svg
      class="load-curve"
      viewBox={`0 0 ${kept - 1} 25`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polyline points={points.join(" ")} />
    </svg>
  );
}
