/** A time of day; the date and the exact second on hover. */

export function Moment({ at }: { at: number }) {
  const date = new Date(at);
  const text = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return (
    <time dateTime={date.toISOString()} title={date.toLocaleString()}>
      {text}
    </time>
  );
}
