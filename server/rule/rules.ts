/**
 * The rules: a list of the server's own, kept in order, then those of the rack
 * files. They decide once for each node, when it is in its slot and has shown
 * its certificate: what they make of it is stored in the same transaction as
 * the node's step to `ready`, so a killed server neither forgets an install nor
 * makes it twice.
 */

import type { JobId, NodeId } from "#protocol/brand.ts";
import type { Node } from "#protocol/node.ts";
import type { Rack } from "#protocol/rack.ts";
import type { RankedRule, Rule, RuleTrial } from "#protocol/rule.ts";
import type { Clock } from "../clock.ts";
import { ConflictError, NotFoundError, ProvisionError } from "../errors.ts";
import type { Jobs } from "../job/jobs.ts";
import type { Log } from "../log.ts";
import { guardOf } from "../node/disk-guard.ts";
import type { NodeChange } from "../node/nodes.ts";
import type { Store } from "../store/store.ts";
import { type Decision, decide, textOf, verdictsOn } from "./decide.ts";

export interface Rules {
  /** In the order they are asked. */
  list(): readonly RankedRule[];
  /**
   * @param before - name of the rule it comes before; default: it is the last one
   * @throws ConflictError when the name is taken, NotFoundError when `before` is not there
   */
  add(rule: Rule, before?: string): void;
  /** @throws NotFoundError */
  remove(name: string): void;
  /** Asks the rules, and does nothing. */
  try(node: Node): RuleTrial;
  /**
   * What a node that would become `ready` does first: see `Nodes.admitBy`.
   *
   * @throws UnavailableError when the journal cannot be written: the node's next call asks again
   */
  admit(node: Node): NodeChange;
}

export interface RulesContext {
  readonly store: Pick<
    Store,
    "rules" | "racks" | "nodes" | "images" | "protectedDisks" | "transaction"
  >;
  readonly jobs: Pick<Jobs, "create">;
  /** Why nothing may begin on the node yet, in words: while its rack is learned, its power may be cut. */
  readonly whyWait: (node: Node) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export function createRules({ store, jobs, whyWait, clock, log }: RulesContext): Rules {
  const own = (): readonly RankedRule[] =>
    store.rules.list().map((rule) => ({ ...rule, origin: "server" }));

  /** For a node only the rules of its own rack. */
  const rulesFor = ({ slot }: Node): readonly RankedRule[] => {
    const rack = slot && store.racks.get(slot.rack);
    return [...own(), ...(rack ? rulesOf(rack) : [])];
  };

  const decideOn = (node: Node): Decision =>
    decide(node, {
      rules: rulesFor(node),
      images: store.images.list(),
      guardOf: (one, wipe) => guardOf(store, one, wipe),
    });

  const install = ({ rule, image }: Extract<Decision, { kind: "install" }>, node: NodeId): JobId =>
    jobs.create({
      kind: "install",
      parameters: {
        image: image.digest,
        authorizedKeys: rule.authorizedKeys ?? [],
        wipe: rule.wipe ?? "known",
        ...(rule.disk !== undefined && { disk: rule.disk }),
      },
      selector: node,
      nodes: [node],
      createdBy: `rule:${rule.name}`,
    }).id;

  const burnIn = ({ name, image }: RankedRule, seconds: number, node: NodeId): JobId =>
    jobs.create({
      kind: "burn-in",
      // Where nothing is installed afterwards, nothing is written before.
      parameters: { seconds, writeDisks: image !== undefined },
      selector: node,
      nodes: [node],
      createdBy: `rule:${name}`,
    }).id;

  /** It stays `enrolled`. Said once: the next call finds nothing new to store. */
  const wait = ({ rule }: Node, name: string, why: string): NodeChange => {
    const text = `rule ${name} waits: ${why}`;
    if (rule?.text === text) return { state: "enrolled" };
    const at = rule?.isTesting ? rule.at : clock.now(); // a burn-in counts from its own rule on
    const isTesting = rule?.isTesting && { isTesting: true as const };
    return { state: "enrolled", rule: { name, text, at, isWaiting: true, ...isTesting } };
  };

  /** @returns what the node is told of it */
  const follow = (node: Node, decision: Decision): NodeChange => {
    const at = clock.now();
    const text = textOf(decision);
    if (decision.kind === "none") return { rule: { text, at } };
    const { name, burnInSeconds } = decision.rule;
    if (node.rule?.isTesting && (node.burnIn === undefined || node.burnIn.at < node.rule.at)) {
      return { rule: { name, at, text: `rule ${name}: its burn-in was called off` } };
    }
    if (burnInSeconds !== undefined && !node.rule?.isTesting) {
      const jobId = burnIn(decision.rule, burnInSeconds, node.id);
      const words = `rule ${name} tests it for ${burnInSeconds} s first`;
      return { state: "enrolled", rule: { name, at, text: words, jobId, isTesting: true } };
    }
    if (decision.kind !== "install") return { rule: { name, text, at } };
    return { rule: { name, text, at, jobId: install(decision, node.id) } };
  };

  return {
    list: () => [...own(), ...store.racks.list().flatMap(rulesOf)],

    add: (rule, before) =>
      store.transaction(() => {
        const rules = [...store.rules.list()];
        if (rules.some(({ name }) => name === rule.name)) {
          throw new ConflictError(`there is a rule ${rule.name}: remove it first`);
        }
        const at = before === undefined ? rules.length : indexOf(rules, before);
        store.rules.replace(rules.toSpliced(at, 0, rule));
      }),

    remove: (name) =>
      store.transaction(() => {
        const rules = store.rules.list();
        store.rules.replace(rules.toSpliced(indexOf(rules, name), 1));
      }),

    try: (node) => ({
      verdicts: verdictsOn(rulesFor(node), node),
      text: textOf(decideOn(node)),
    }),

    admit(node) {
      if (node.rule && !node.rule.isTesting && !node.rule.isWaiting) return {};
      try {
        const decision = decideOn(node);
        const why = decision.kind === "none" ? undefined : whyWait(node);
        if (decision.kind !== "none" && why !== undefined) {
          return wait(node, decision.rule.name, why);
        }
        const change = store.transaction(() => follow(node, decision));
        log.info({ node: node.id, mac: node.mac, rule: change.rule?.text }, "rules asked");
        return change;
      } catch (error) {
        const isExpected = error instanceof ProvisionError;
        if (isExpected && error.retryable) throw error;
        if (!isExpected) log.error({ err: error, node: node.id }, "rules broke");
        const reason = error instanceof Error ? error.message : String(error);
        return { rule: { text: `the rules could not be followed: ${reason}`, at: clock.now() } };
      }
    },
  };
}

/** @throws NotFoundError */
function indexOf(rules: readonly Rule[], name: string): number {
  const index = rules.findIndex((rule) => rule.name === name);
  if (index >= 0) return index;
  const names = rules.map((rule) => rule.name).join(", ");
  throw new NotFoundError(`no rule ${name}; there is: ${names === "" ? "none" : names}`);
}

function rulesOf({ name, rules = [] }: Rack): readonly RankedRule[] {
  return rules.map((rule) => ({ ...rule, origin: `rack:${name}` }));
}
