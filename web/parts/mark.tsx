/** The shape of a state: tells it where colour does not. */

import type { Look } from "../state/face.ts";

const circumference = 2 * Math.PI * 10;

export function Mark({ look, percent }: { look: Look; percent?: number }) {
  return (
    <svg class={`mark mark-${look}`} viewBox="0 0 28 28" aria-hidden="true">
      <Shape look={look} percent={percent ?? 0} />
    </svg>
  );
}

function Shape({ look, percent }: { look: Look; percent: number }) {
  switch (look) {
    case "empty":
      return <circle cx="14" cy="14" r="9" class="line dashed" />;
    case "discovered":
      return (
        <>
          <circle cx="14" cy="14" r="10" class="line" />
          <path d="M11 11.5a3 3 0 1 1 4.2 2.7c-.8.4-1.2.9-1.2 1.8M14 19.2v.1" class="line" />
        </>
      );
    case "ready":
      return (
        <>
          <circle cx="14" cy="14" r="10" class="line" />
          <circle cx="14" cy="14" r="4" class="fill" />
        </>
      );
    case "working":
      return (
        <>
          <circle cx="14" cy="14" r="10" class="line track" />
          <circle
            cx="14"
            cy="14"
            r="10"
            class="line ring"
            stroke-dasharray={`${(circumference * percent) / 100} ${circumference}`}
            transform="rotate(-90 14 14)"
          />
          <path d="M14 9.5v7M10.8 13.6l3.2 3.4 3.2-3.4" class="line" />
        </>
      );
    case "installed":
      return (
        <>
          <circle cx="14" cy="14" r="11" class="fill" />
          <path d="M9 14.4l3.4 3.4 6.6-7" class="line on-fill" />
        </>
      );
    case "failed":
      return (
        <>
          <path d="M14 3.5L25.5 24h-23z" class="fill" />
          <path d="M14 11v6M14 20.2v.1" class="line on-fill" />
        </>
      );
    case "off":
      return (
        <>
          <path d="M9.2 8.6a8 8 0 1 0 9.6 0" class="line" />
          <path d="M14 4.5v8" class="line" />
        </>
      );
    case "held":
      return (
        <>
          <rect x="7" y="13" width="14" height="10" rx="2" class="fill" />
          <path d="M10 13v-3a4 4 0 0 1 8 0v3" class="line" />
        </>
      );
  }
}
