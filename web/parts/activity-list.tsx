/** What happened lately. */

import type { Site } from "../state/site.ts";
import { Moment } from "./moment.tsx";

const shown = 12;

export function ActivityList({ site }: { site: Site }) {
  const items = site.activity.value.slice(0, shown);
  return (
    <section class="card" aria-labelledby="activity">
      <h2 id="activity">Activity</h2>
      {items.length === 0 && <p class="quiet">Quiet since this page was opened.</p>}
      <ul class="plain-list activity">
        {items.map((item) => (
          <li key={item.id} class={item.isAlarm ? "alarm" : ""}>
            <span class="quiet">
              <Moment at={item.at} />
            </span>{" "}
            {item.isAlarm && <b>Alarm: </b>}
            {item.text}
          </li>
        ))}
      </ul>
    </section>
  );
}
