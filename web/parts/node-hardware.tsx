/** What the node's machine is and how its disks are, what it was tested for, and what no job may write. */

import { useSignal } from "@preact/signals";
import {
  burnInTexts,
  hardwareTexts,
  type PartText,
  protectionText,
  switchPortTexts,
} from "#protocol/hardware-text.ts";
import type { Node, Protection } from "#protocol/node.ts";
import { call } from "../api.ts";
import type { PageContext } from "./context.ts";
import { Dialog } from "./dialog.tsx";
import { Moment } from "./moment.tsx";

interface Props {
  readonly node: Node;
  readonly context: PageContext;
}

export function NodeHardware({ node, context }: Props) {
  const { hardware, burnIn, protection, rule, tags } = node;
  const state = context.session.state.value;
  const role = "user" in state ? state.user.role : "viewer";
  return (
    <>
      <Parts
        parts={[
          ...(protection ? [{ name: "protected", text: protectionText(protection) }] : []),
          ...(tags ? [{ name: "tags", text: tags.join(", ") }] : []),
          ...(rule ? [{ name: "rule", text: rule.text }] : []),
          ...(hardware ? hardwareTexts(hardware) : []),
          ...switchPortTexts(node.switchPorts),
        ]}
      />
      {burnIn && (
        <>
          <h3>
            Burn-in{" "}
            <span class="quiet">
              <Moment at={burnIn.at} />, {burnIn.seconds} s
            </span>
          </h3>
          <Parts parts={burnInTexts(burnIn)} />
        </>
      )}
      {role !== "viewer" && <Actions node={node} isAdmin={role === "admin"} />}
    </>
  );
}

function Parts({ parts }: { parts: readonly PartText[] }) {
  return (
    <dl class="facts">
      {parts.map(({ name, text, isFault }, index) => (
        <div key={index}>
          <dt>{name === "" ? "\u00a0" : `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`}</dt>
          <dd class={isFault ? "refusal" : ""}>{text}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The node with all its disks, or one of them, which keeps its protection wherever it goes. */
interface Protectable {
  readonly label: string;
  readonly path: string;
  readonly protection: Protection | undefined;
  /** What must be typed to release it. */
  readonly word: string;
}

function protectablesOf({ id, name, protection, hardware }: Node): readonly Protectable[] {
  const disks = (hardware?.disks ?? []).flatMap((disk) =>
    disk.serial === undefined
      ? []
      : {
          label: `disk ${disk.name} (${disk.serial})`,
          path: `/api/v1/protected-disks/${encodeURIComponent(disk.serial)}`,
          protection: disk.protection,
          word: disk.serial,
        },
  );
  const path = `/api/v1/nodes/${id}/protection`;
  return [{ label: `all disks of ${name}`, path, protection, word: name }, ...disks];
}

function Actions({ node, isAdmin }: { node: Node; isAdmin: boolean }) {
  const isOnline = node.connection === "online";
  const all = protectablesOf(node);
  const open = all.filter(({ protection }) => protection === undefined);
  return (
    <div class="node-actions">
      <button
        type="button"
        class="button-plain"
        disabled={!isOnline}
        title={isOnline ? "Reads the hardware again" : `${node.name} is offline`}
        onClick={() => void call("POST", "/api/v1/jobs", { kind: "inventory", selector: node.id })}
      >
        Look at hardware
      </button>
      {open.length > 0 && <Protect what={open} />}
      {all.map(
        (one) =>
          one.protection && (
            <Release key={one.path} what={one} protection={one.protection} isAdmin={isAdmin} />
          ),
      )}
    </div>
  );
}

function Protect({ what }: { what: readonly Protectable[] }) {
  const isAsked = useSignal(false);
  const reason = useSignal("");
  const path = useSignal("");
  const chosen = what.find((one) => one.path === path.value) ?? what[0];
  if (!chosen) return null;
  return (
    <>
      <button
        type="button"
        class="button-plain"
        title="No job may write what is protected"
        onClick={() => {
          reason.value = "";
          isAsked.value = true;
        }}
      >
        Protect…
      </button>
      <Dialog
        title="What shall no job write?"
        open={isAsked}
        actionText="Protect"
        action={async () => void (await call("PUT", chosen.path, { reason: reason.value }))}
      >
        <label class="field">
          <span>What</span>
          <select
            value={chosen.path}
            onChange={(event) => {
              path.value = event.currentTarget.value;
            }}
          >
            {what.map((one) => (
              <option key={one.path} value={one.path}>
                {one.label}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>Why, for whoever tries</span>
          <input
            value={reason.value}
            required
            maxLength={500}
            onInput={(event) => {
              reason.value = event.currentTarget.value;
            }}
          />
        </label>
      </Dialog>
    </>
  );
}

interface ReleaseProps {
  readonly what: Protectable;
  readonly protection: Protection;
  readonly isAdmin: boolean;
}

function Release({ what, protection, isAdmin }: ReleaseProps) {
  const isAsked = useSignal(false);
  return (
    <>
      <button
        type="button"
        class="button-plain"
        disabled={!isAdmin}
        title={isAdmin ? "Jobs may write it again" : "Only an admin ends a protection"}
        onClick={() => {
          isAsked.value = true;
        }}
      >
        Release {what.label}…
      </button>
      <Dialog
        title={`Let jobs write ${what.label} again?`}
        open={isAsked}
        actionText="Release"
        isHarsh
        word={what.word}
        action={async () => void (await call("DELETE", what.path))}
      >
        <p>Protected {protectionText(protection)}</p>
      </Dialog>
    </>
  );
}
