/** Whom the server trusts to be this node: the keys that ask, its approval, the end of its certificate. */

import { useSignal } from "@preact/signals";
import type { Node } from "#protocol/node.ts";
import { call } from "../api.ts";
import type { PageContext } from "./context.ts";
import { Dialog } from "./dialog.tsx";

/** For admins; nobody else may decide on it. */
export function Trust({ node, context }: { node: Node; context: PageContext }) {
  const refusal = useSignal<string | undefined>(undefined);
  const isRevoking = useSignal(false);
  const act = async (path: string) => {
    refusal.value = undefined;
    try {
      await call("POST", `/api/v1/nodes/${node.id}/${path}`);
    } catch (error) {
      refusal.value = error instanceof Error ? error.message : String(error);
    }
  };
  const state = context.session.state.value;
  if (!("user" in state) || state.user.role !== "admin") return null;
  const asks = node.asks ?? [];
  return (
    <>
      {asks.length > 0 && (
        <p>
          Asks to enrol. Approve it if its screen shows the same code
          {asks.length > 1 && ": several keys ask in its name"}.
        </p>
      )}
      {asks.map(({ code, address }) => (
        <button
          key={code}
          type="button"
          class="button"
          onClick={() => void act(`approve?code=${encodeURIComponent(code)}`)}
        >
          Approve {code} from {address}
        </button>
      ))}
      {node.quarantined && asks.length === 0 && (
        <button type="button" class="button" onClick={() => void act("approve")}>
          Approve
        </button>
      )}
      {node.certificate !== undefined && (
        <button
          type="button"
          class="button-quiet"
          onClick={() => {
            isRevoking.value = true;
          }}
        >
          Revoke certificate
        </button>
      )}
      {refusal.value !== undefined && (
        <p class="refusal" role="alert">
          {refusal.value}
        </p>
      )}
      <Dialog
        title={`Revoke the certificate of ${node.name}?`}
        open={isRevoking}
        actionText="Revoke"
        isHarsh
        word={node.name}
        action={async () => void (await call("POST", `/api/v1/nodes/${node.id}/revoke`))}
      >
        <p>It is cut off at once, its work stops, and it comes back only when it is approved.</p>
      </Dialog>
    </>
  );
}
