/** What the node said itself over netconsole, where the words are known. */

import type { RuleGroup } from "../rule.ts";
import type { Story } from "../story.ts";

const sayings: readonly (readonly [pattern: RegExp, means: string, remedy: string])[] = [
  [
    /Unable to mount root fs|Cannot open root device|No working init found/i,
    "its kernel finds no root file system",
    "the initrd did not reach it or is not the kernel's: load both again; look at `root=` on its kernel line",
  ],
  [
    /Out of memory|Initramfs unpacking failed/i,
    "it ran out of memory",
    "the netinst needs 256 MB of RAM, and as much again where an image is unpacked",
  ],
  [/Kernel panic/i, "its kernel stopped", "the lines before it say why"],
  [
    /firmware not found/i,
    "its boot ROM did not find its firmware files",
    "run set-up: the Raspberry Pi firmware is missing in the loaders' directory",
  ],
  [
    /\bdhcp\b.{0,40}\btime-?(?:d )?-?out/i,
    "its boot ROM got no answer by DHCP",
    "see whether this server heard it at all; if it did not, look at the switch port",
  ],
  [
    /\btftp\b.{0,40}\btime-?(?:d )?-?out/i,
    "its boot ROM waited in vain for a file",
    "packets are lost, or the server was overloaded: switch it off and on",
  ],
  [
    /link (?:is )?(?:down|not ready)|no link/i,
    "it has no network link",
    "look at cable and switch port",
  ],
];

/** The newest line with known words; a later boot stage may have gone on past it. */
function lastSaying({ console, files }: Story) {
  const lastFile = files.findLast(({ outcome }) => outcome === "sent")?.at ?? 0;
  for (const { at, line } of console.toReversed()) {
    if (at < lastFile) return undefined;
    const known = sayings.find(([pattern]) => pattern.test(line));
    if (known) return { line, known };
  }
  return undefined;
}

export const consoleRules: RuleGroup = {
  whileBooting: true,
  rules: [
    {
      code: "said-it-itself",
      severity: "problem",
      tell(story) {
        const said = lastSaying(story);
        return said && `${said.known[1]}: it says "${said.line.slice(0, 160)}"`;
      },
      remedy: (story) => lastSaying(story)?.known[2] ?? "",
    },
  ],
};
