/** What the node's machine is and how its disks are, what it was tested for, and what no job may write. */

import { useSignal } from "@preact/signals";
import {
  burnInTexts,
  hardwareTexts,
  type PartText,
  protectionText,
} from "#protocol/hardware-text.ts";
import type { Node } from "#protocol/node.ts";
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

function Actions({ node, isAdmin }: { node: Node; isAdmin: boolean }) {
  const isAsked = useSignal(false);
  const reason = useSignal("");
  const path = `/api/v1/nodes/${node.id}/protection`;
  const isOnline = node.connection === "online";
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
      <button
        type="button"
        class="button-plain"
        disabled={node.protection !== undefined && !isAdmin}
        title={
          node.protection
            ? "An admin may let jobs write its disks again"
            : "No job may write its disks"
        }
        onClick={() => {
          isAsked.value = true;
        }}
      >
        {node.protection ? "Release…" : "Protect…"}
      </button>
      {node.protection ? (
        <Dialog
          title={`Let jobs write the disks of ${node.name} again?`}
          open={isAsked}
          actionText="Release"
          isHarsh
          word={node.name}
          action={async () => void (await call("DELETE", path))}
        >
          <p>Protected {protectionText(node.protection)}</p>
        </Dialog>
      ) : (
        <Dialog
          title={`Protect the disks of ${node.name}?`}
          open={isAsked}
          actionText="Protect"
          action={async () => void (await call("PUT", path, { reason: reason.value }))}
        >
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
      )}
    </div>
  );
}
