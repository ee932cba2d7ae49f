import test, { type ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { type DiscoveryAnswer, maxDiscoveryOctets } from "#protocol/discovery.ts";
import { createResponder } from "../../server/discovery/shared/responder.ts";
import type { Service } from "../../server/discovery/shared/services.ts";
import { bytesOf, makeSite, nonce } from "./support.ts";

const blue = "224.0.0.113";
const green = "224.0.0.114";
const everywhere: Service = { id: "status", params: { port: 1 }, groups: [] };
const inBlue: Service = { id: "deployer", params: { port: 2 }, groups: [blue] };

async function setUp(t: ExecutionContext, services: readonly Service[] = [everywhere, inBlue]) {
  const { signer } = await makeSite(t);
  const responder = createResponder({
    signer: () => signer,
    host: () => ({ hostname: "n1" }),
    services: () => services,
  });
  const usual = { from: "10.77.0.11", isNear: true, address: "10.77.0.1" };
  return (message: object, group?: string) => {
    const heard = { ...usual, bytes: bytesOf({ Nonce: nonce, ...message }) };
    const { outcome, answer } = responder.hear(
      group === undefined ? heard : { ...heard, group },
      milliseconds(0),
    );
    return answer ? (JSON.parse(new TextDecoder().decode(answer)) as DiscoveryAnswer) : outcome;
  };
}

test("Marco is answered by Polo with what the host is", async (t) => {
  const hear = await setUp(t);
  t.like(hear({ Command: "Marco" }), { Command: "Polo", Params: { hostname: "n1" } });
});

test("a service is offered in its own meshes, and to whoever asks this host alone", async (t) => {
  const hear = await setUp(t);
  const question = { Command: "Request-For", Params: "deployer" };
  t.like(hear(question, blue), { Command: "OK", Params: { port: 2 }, Address: "10.77.0.1" });
  t.is(hear(question, green), "other-service");
  t.like(hear(question), { Params: { port: 2 } });
  t.like(hear({ ...question, Params: "status" }, green), { Params: { port: 1 } });
});

test("Services lists what the mesh may see", async (t) => {
  const hear = await setUp(t);
  t.like(hear({ Command: "Services" }, green), {
    Services: [{ id: "status", params: { port: 1 } }],
  });
  t.deepEqual((hear({ Command: "Services" }, blue) as DiscoveryAnswer).Services, [
    { id: "status", params: { port: 1 } },
    { id: "deployer", params: { port: 2 } },
  ]);
});

test("a list of services never exceeds a datagram", async (t) => {
  const many = Array.from({ length: 400 }, (_, index) => ({
    id: `service-${index}`,
    params: { text: "a".repeat(index < 2 ? 1500 : 10) },
    groups: [],
  }));
  const hear = await setUp(t, many);
  const answer = hear({ Command: "Services" }) as DiscoveryAnswer;
  t.true(bytesOf(answer).length <= maxDiscoveryOctets);
  t.deepEqual(answer.Services?.slice(0, 2), [
    { id: "service-0", params: { text: "a".repeat(1500) } },
    { id: "service-1" },
  ]);
});
