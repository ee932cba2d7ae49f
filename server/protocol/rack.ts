/**
 * The rack file: what the admin wrote about the frame, its stacks and their slots.
 * Parsed (YAML, line numbers in errors) by `server/rack/rack-file.ts`.
 */

/** One switched power output. `settings` is checked by the driver named in `driver`. */
export interface Outlet {
  readonly driver: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Slot {
  readonly name: string;
  /** Host name of the node in this slot; default `<rack>-<stack>-<slot>`. */
  readonly hostname: string;
  /** IPv4 address reserved for it; default: the next free one of the subnet's reserved range. */
  readonly address?: string;
  readonly outlet?: Outlet;
}

export interface Stack {
  readonly name: string;
  /** Column and row in the drawing of the rack, from 0, left and top first. */
  readonly x: number;
  readonly y: number;
  /** Set where one outlet powers the whole stack; else every slot has its own. */
  readonly outlet?: Outlet;
  readonly slots: readonly Slot[];
}

export interface Rack {
  readonly name: string;
  readonly stacks: readonly Stack[];
}
