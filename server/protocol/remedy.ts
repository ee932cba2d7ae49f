/**
 * What to do about a task that failed, told from its reason: a reason is written where something
 * went wrong, by the server, the agent or a power driver, and says what; this says what next.
 *
 * The first line that fits counts. `test/protocol/remedy.test.ts` walks every reason there is.
 */

import type { Task } from "./job.ts";

const why = "`marcoboot node why NODE` tells how far it came";
const again = "then `marcoboot job retry JOB`";

const remedies: readonly (readonly [reason: RegExp, remedy: string])[] = [
  [/journal|no space|ENOSPC|disk space/, `make room on the server's disk, ${again}`],
  [/restored from a backup/, `\`marcoboot node list\` tells what became of the node, ${again}`],
  // the node may not
  [/is held back/, "find out why, then `marcoboot node approve NODE`"],
  [/is protected/, "if it may be written after all: `marcoboot node release NODE`"],
  [/is retired|^node \S+ is gone/, "leave it out, or let it enrol again"],
  [
    /has not enrolled|is not known$|in no slot|has no address$/,
    `let it boot from the network and enrol, ${again}`,
  ],
  [/in netinst: no system/, "install it first"],
  [
    /has an installed system, which/,
    "`marcoboot node retire NODE` first, if its system is no longer needed",
  ],
  [/runs: shut it down/, "`marcoboot job create shutdown --outlet off`, or give --force"],
  [
    /no SSH host key|host key|is not let in|by SSH/,
    "start its agent, or install it from here: only then is its host key known and ours let in",
  ],
  [
    /is offline|agent never called|no agent there/,
    `switch it on and wait until \`marcoboot node list\` says online; ${why}`,
  ],
  // image and disk do not fit
  [/no longer in the library/, `\`marcoboot image push\` it again, ${again}`],
  [
    /which was not installed from here|what is on disk/,
    "save what is on it; `--wipe any` writes over it",
  ],
  [
    /fixed disk|no disk |in use|sectors of/,
    "`marcoboot node show NODE` lists its disks: name one with `--disk`",
  ],
  [
    /too small|no room|needs \d+|there is room/,
    "take a larger disk or a smaller image, or fewer bytes for the slots",
  ],
  [
    /is for \S+|boots by|is a file to copy|is an OS image|is a whole disk|architecture/,
    "choose an image that fits: `marcoboot image list`",
  ],
  [
    /somebody changed config\.txt/,
    "copy the slot's config.txt back, and put the change into the image",
  ],
  [
    /config\.txt of the image/,
    "shorten /boot/firmware/config.txt of the image, or push it without --root-size",
  ],
  [
    /pushed without root slots/,
    "push it again with --root-size, once it was removed from the library",
  ],
  [/cannot be kept on a Raspberry Pi/, "leave that path out of what is kept"],
  [
    /one root (file system|slot)|no installed system|root slots?|boot partition/,
    "install it with an image that was pushed with --root-size",
  ],
  // the node did not come
  [
    /started its installed system again/,
    `put the network before the disk in its boot order, ${again}`,
  ],
  [
    /booted its own disk before/,
    `its network boot broke off: \`marcoboot node why NODE\` tells where, ${again}`,
  ],
  [
    /started netinst again instead/,
    "its disk did not boot: look at its console, its boot order, and the image's boot loader",
  ],
  [/calls itself/, "the image sets a name of its own, or the node booted another disk"],
  [
    /did not stay up|did not say within/,
    "the node runs the system it had: look at its console and log, mend the image, and update again",
  ],
  [
    /did not call|did not come back|neither the new system/,
    `${why}; look at its console, its cable and its boot order`,
  ],
  [
    /no sign of life|node restarted|no boot id/,
    `look at its power supply, cable and memory (\`marcoboot job create burn-in\`), ${again}`,
  ],
  [
    /server was restarted while it ran/,
    "whether it had its effect is not known: look there, and run it again if it has not",
  ],
  [
    /still running|restarted instead of powering off/,
    "look at its console; `marcoboot power off SLOT --force` cuts it at once",
  ],
  [
    /no progress for|no word of|not ended within/,
    "`marcoboot job log TASK` tells where it stood; find what holds it",
  ],
  // power
  [
    /by hand/,
    "switch it by hand, or give the slot an outlet that the server can switch (`marcoboot rack edit`)",
  ],
  [/outlet feeds|shares its outlet/, "take its neighbours into the job, or switch the whole stack"],
  [/has no outlet|no power driver/, "`marcoboot rack edit` gives its slot an outlet"],
  [
    /outlet|BMC|SNMP|gpio|^line \d|webhook|power socket|magic packet|certificate|TruthValue|is still|no answer|did not answer|no time left|did not end in time|cannot be run|was ended by|not an integer|more than \d+ octets|query: said/,
    "look at that hardware and its cable; `marcoboot rack check FILE --outlets` asks every outlet",
  ],
  // the agent's work
  [
    /other bytes|came back|(reading|writing) .*at \d+|flushing|ends at \d+|be written|cannot be (detached|unmounted)|for (reading|writing)|\bcannot open\b/,
    `its disk fails or has a bad cable: \`marcoboot node show NODE\` tells its health; replace it, ${again}`,
  ],
  [
    /sha-256|digest|hash|signed|pinned key|nonce|^no .* in the message|not an assignment|more than (the )?\d+ (stored|bytes of)|plain bytes|\bxz\b/,
    "push the image again; if it stays, something between server and node changes what is sent",
  ],
  [
    /connection|fetching|resume|server answered|server's answer|server lost|no IPv4|enrolment|JSON|not here any more/,
    `look at the network between server and node, ${again}`,
  ],
  [
    /ext4|partition|\/etc|vmlinuz|leads out|outside|unpacked|symbolic link|be kept|be read|no directory|boot loader|a path with|layout|\btar\b/,
    "the image does not fit this node: mend it, push it again, and choose that one",
  ],
  [
    /exit status|signal|ended with|cannot run|no loader|dumpe2fs|loop device|time is over|simulated/,
    "`marcoboot job log TASK` has what the program said last",
  ],
];

const usual = `read \`marcoboot job log TASK\`, remove the reason, ${again}`;

/** In one line, without a full stop; undefined where the task has not failed. */
export function remedyOf({ state, reason }: Pick<Task, "state" | "reason">): string | undefined {
  if (state !== "failed") return undefined;
  const found = remedies.find(([pattern]) => pattern.test(reason ?? ""));
  return found?.[1] ?? usual;
}
