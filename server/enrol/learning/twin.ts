/**
 * The node a board was before, when its hardware address is new: another network
 * interface of a board whose serial number or UUID is known.
 *
 * Careless makers give all their boards one number: what two of them say is none.
 */

import type { LearningRecord, Sighting } from "#protocol/learning.ts";
import type { Node } from "#protocol/node.ts";
import { isSameSerial, isSameUuid } from "../../node/identity.ts";

type Identity = Pick<Sighting, "serial" | "uuid">;

export function twinOf(
  sighting: Sighting,
  record: LearningRecord,
  nodes: readonly Node[],
): Node | undefined {
  const boards = record.groups.flatMap(({ heard }) => heard);
  const twins = nodes.filter(
    (node) => node.slot && node.mac !== sighting.mac && isSame(node, sighting),
  );
  const [twin] = twins;
  const isShared = boards.some((one) => one.mac !== sighting.mac && isSame(one, sighting));
  return twins.length === 1 && !isShared ? twin : undefined;
}

function isSame(recorded: Identity, said: Identity): boolean {
  if (recorded.uuid !== undefined && said.uuid !== undefined) {
    return isSameUuid(recorded.uuid, said.uuid);
  }
  if (recorded.serial === undefined || said.serial === undefined) return false;
  // A boot ROM says the end of a number; one that is no number must be the same as a whole.
  const isNumber = [recorded.serial, said.serial].every((text) => /[0-9a-f]{8}$/i.test(text));
  return isNumber
    ? isSameSerial(said.serial, recorded.serial)
    : recorded.serial.toLowerCase() === said.serial.toLowerCase();
}
