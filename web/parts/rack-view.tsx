/** A rack as it stands: stacks at their x/y, slots as tiles. */

import { slotText } from "#protocol/node.ts";
import type { Rack, Stack } from "#protocol/rack.ts";
import { faceOf } from "../state/face.ts";
import type { Tile } from "../state/site.ts";
import type { PageContext } from "./context.ts";
import { LearnButton } from "./learn-button.tsx";
import { Mark } from "./mark.tsx";
import { OutletsButton } from "./outlet-dialog.tsx";
import { RackFileButton } from "./rack-file-dialog.tsx";

interface RackProps {
  readonly rack: Rack;
  readonly context: PageContext;
  readonly canAct: boolean;
}

export function RackView({ rack, context, canAct }: RackProps) {
  const { site, selection, session } = context;
  const state = session.state.value;
  const isAdmin = state.step === "signed-in" && state.user.role === "admin";
  const tiles = rack.stacks.flatMap((stack) => site.tilesOf(rack, stack));
  const ids = tiles.flatMap((tile) => tile.node?.id ?? []);
  return (
    <section class="rack" aria-labelledby={`rack-${rack.name}`}>
      <div class="rack-head">
        <h2 id={`rack-${rack.name}`}>Rack {rack.name}</h2>
        <p class="quiet">
          {ids.length} of {tiles.length} slots taken
        </p>
        <button
          type="button"
          class="button-quiet"
          disabled={ids.length === 0}
          onClick={() => selection.group(ids)}
        >
          Select all
        </button>
        {canAct && <LearnButton rack={rack} />}
        {isAdmin && <OutletsButton rack={rack} site={site} />}
        {isAdmin && <RackFileButton name={rack.name} site={site} />}
      </div>
      <div class="frame">
        {rack.stacks.map((stack) => (
          <StackView key={stack.name} rack={rack} stack={stack} context={context} />
        ))}
      </div>
    </section>
  );
}

function StackView({ rack, stack, context }: Omit<RackProps, "canAct"> & { stack: Stack }) {
  const { site, selection } = context;
  const tiles = site.tilesOf(rack, stack);
  const ids = tiles.flatMap((tile) => tile.node?.id ?? []);
  const powered = tiles.filter((tile) => tile.node?.power === "on").length;
  return (
    <section
      class="stack"
      style={{ "--column": String(stack.x + 1), "--row": String(stack.y + 1) }}
      aria-label={`Stack ${stack.name}`}
    >
      <button
        type="button"
        class="stack-head"
        disabled={ids.length === 0}
        onClick={() => selection.group(ids)}
      >
        <span class="stack-name">Stack {stack.name}</span>
        <span class="quiet">
          {powered}/{tiles.length} on
        </span>
      </button>
      <ul class="slots">
        {tiles.map((tile) => (
          <li key={slotText(tile.slot)}>
            <TileView tile={tile} context={context} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function TileView({ tile, context }: { tile: Tile; context: PageContext }) {
  const { selection } = context;
  const { node } = tile;
  const face = faceOf(tile);
  const isChosen = node !== undefined && selection.ids.value.has(node.id);
  const choose = (event: MouseEvent) => {
    if (!node) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) selection.toggle(node.id);
    else selection.only(node.id);
  };
  return (
    <button
      type="button"
      class={`tile look-${face.look}`}
      aria-pressed={isChosen}
      disabled={!node}
      onClick={choose}
      data-slot={slotText(tile.slot)}
    >
      <Mark look={face.look} {...(face.percent !== undefined && { percent: face.percent })} />
      <span class="tile-text">
        <span class="tile-name">{tile.name}</span>
        <span class="tile-label">{face.label}</span>
      </span>
      <span class="tile-side">
        {node && <span class={`led led-${node.power}`} title={`power ${node.power}`} />}
        {node && <span class="quiet tile-agent">{node.power === "off" ? "off" : face.agent}</span>}
      </span>
    </button>
  );
}
