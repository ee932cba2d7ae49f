import test from "ava";
import { createPlaces } from "../../server/agent/places.ts";

test("whoever finds no room enters when another leaves, in order", async (t) => {
  const places = createPlaces(2);
  const entered: string[] = [];
  const enter = (name: string) => places.enter().then(() => entered.push(name));
  await Promise.all([enter("a"), enter("b")]);
  const later = [enter("c"), enter("d")];
  await Promise.resolve();
  t.deepEqual(entered, ["a", "b"]);
  places.leave();
  await later[0];
  t.deepEqual(entered, ["a", "b", "c"]);
  places.leave();
  await later[1];
  places.leave();
  places.leave();
  await Promise.all([enter("e"), enter("f")]);
  t.deepEqual(entered, ["a", "b", "c", "d", "e", "f"]);
});
