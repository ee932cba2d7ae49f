/** From the address to a running kernel: what was asked for by TFTP and HTTP, and what was not. */

import { decideBootTarget } from "../../boot/target.ts";
import { baseName, type FileStage, isProbe, stageOfFile } from "../boot-names.ts";
import { isRaspberryPi, type RuleGroup, since } from "../rule.ts";
import type { Story, Told } from "../story.ts";
import { count, durationText, sizeText } from "../words.ts";

type File = Told<"boot-file">;

/** A firmware asks for its first file within a second of its address; an iPXE after 14-32 s. */
const firstFile = 40_000;
/** After a file the next one follows at once; a kernel that unpacks itself takes longer. */
const nextFile = 60_000;
/** An installed OS calls within this time; a server's firmware alone takes minutes. */
const ownBoot = 300_000;
/** 16-bit block counter times block size: where firmware that cannot roll over stops. */
const rollOvers = [512, 1024, 1432, 1456, 1468].map((blockSize) => 65535 * blockSize);
const raspberryPiLimit = 65535 * 1024; // octets; EEPROMs before 2025-09 cut what is longer

const setUp = "run set-up: a file is missing in the loaders' directory";
const netinst = "build the netinst for its architecture";

/** What a boot cannot do without; of each row one file is enough. */
const needed: readonly (readonly [pattern: RegExp, remedy: string])[] = [
  [/^bootcode\.bin$/, setUp],
  [/^start\w*\.elf$/, `${setUp}, or the files are for another model`],
  [/^bcm[\w.-]+\.dtb$/, "the firmware files are older than the board: update them"],
  [/^(?:kernel[\w.-]*|vmlinuz[\w.-]*)$/, netinst],
  [/^(?:initrd|initramfs)[\w.-]*$/, netinst],
  [/\.(?:efi|kpxe)$/, setUp],
  [/^agent\.squashfs$/, netinst],
];

function isSent({ outcome }: File): boolean {
  return outcome === "sent";
}

/**
 * It was sent to its own disk: a Raspberry Pi finds no file here and goes on to it,
 * an iPXE gets a script that says so.
 */
function isSentToItsDisk({ node, task, files }: Story): boolean {
  const unfinished = task?.state === "running" ? [task] : [];
  const isFromItsDisk = decideBootTarget(node, unfinished) === "local-disk" || task?.isTried;
  if (!isFromItsDisk || files.length === 0) return false;
  const stages = files.filter(isSent).map(({ name }) => stageOfFile(name));
  return stages.length === 0 || (stages.includes("script") && !stages.includes("kernel"));
}

function lastAnswer({ dhcp }: Story) {
  return dhcp.findLast(({ outcome }) => outcome === "offer" || outcome === "ack");
}

/** By the last stage that was served: what should have come next, and why it may not. */
const stopped: Readonly<Record<FileStage, string>> = {
  firmware:
    "wrong firmware files for this board, too little power, or a file it waits for: switch it off and on, then look at its screen or NETCONSOLE",
  loader:
    "the boot loader does not start (Secure Boot refuses it, wrong architecture) or has no driver for this network card: look at the screen",
  script: "the script could not be used: look at the screen",
  kernel: "its memory may be too small for the initrd: look at the screen",
  initrd: "",
  agent: "",
};

export const fileRules: RuleGroup = {
  whileBooting: true,
  rules: [
    {
      code: "no-file-asked",
      severity: "problem",
      tell(story) {
        const answer = lastAnswer(story);
        const begun = story.files.length > 0 || story.dhcp.at(-1)?.outcome !== answer?.outcome;
        if (!answer || begun || since(story, answer.at) < 5000 || !story.firmware) return undefined;
        const answered = story.dhcp.filter(({ outcome }) => outcome === "offer").length;
        const isBootPart = answer.address === undefined; // the address is another server's to give
        if (isRaspberryPi(story) && answered >= 2 && !isBootPart) {
          return `${count(answered, "DISCOVER")} answered, no file asked: option 43 rejected?`;
        }
        if (answer.outcome !== "ack" || since(story, answer.at) < firstFile) return undefined;
        return `it got ${answer.address ?? "an address"} ${durationText(since(story, answer.at))} ago and asked for no file`;
      },
      remedy: (story) =>
        isRaspberryPi(story)
          ? "another server's answer may have come first; PXE_OPTION43 in its EEPROM may want another text; or a firewall drops UDP port 69"
          : "a firewall may drop UDP port 69 or the boot HTTP port; Secure Boot may want a signed loader",
    },
    {
      code: "own-disk-silent",
      severity: "problem",
      tell(story) {
        const { node, lastHeard } = story;
        const { role, lastSeen = 0 } = node?.agent ?? {};
        const isExpected = role === "resident" && lastSeen < (lastHeard ?? 0); // it did before
        if (!isExpected || !isSentToItsDisk(story) || since(story, lastHeard) < ownBoot) {
          return undefined;
        }
        return `it was sent to its own disk ${durationText(since(story, lastHeard))} ago, and its OS has not called since`;
      },
      remedy:
        "put the disk into its boot order, after the network (BOOT_ORDER on a Raspberry Pi); or its OS does not start: install it anew",
    },
    {
      code: "own-disk",
      severity: "ok",
      tell: (story) =>
        isSentToItsDisk(story)
          ? "it is sent on to its own disk: nothing is to be booted here"
          : undefined,
    },
    {
      code: "file-missing",
      severity: "problem",
      tell(story) {
        if (isSentToItsDisk(story)) return undefined;
        const missing = missingOf(story);
        if (!missing) return undefined;
        return `${baseName(missing.file.name)} was asked for and is not there: wrong image?`;
      },
      remedy: (story) => missingOf(story)?.remedy ?? "",
    },
    {
      code: "file-too-large",
      severity: "problem",
      tell(story) {
        const file = story.files.find((one) => one.bytes > raspberryPiLimit);
        if (!file || !isRaspberryPi(story) || file.protocol !== "tftp") return undefined;
        return `${baseName(file.name)} has ${sizeText(file.bytes)}: this firmware counts blocks in 16 bits and cuts files at 64 MiB`;
      },
      remedy: "make the file smaller, or update the EEPROM to 2025-09 or newer",
    },
    {
      code: "stopped-at-roll-over",
      severity: "problem",
      tell({ files }) {
        const file = files.find(
          ({ bytes, outcome }) =>
            outcome === "aborted" && rollOvers.some((limit) => Math.abs(bytes - limit) <= 65_536),
        );
        if (!file) return undefined;
        return `${baseName(file.name)} broke off after ${sizeText(file.bytes)}: where a firmware's 16-bit block counter ends`;
      },
      remedy: "serve a smaller file, or load it by HTTP (iPXE)",
    },
    {
      code: "transfer-broken-off",
      severity: "problem",
      tell(story) {
        const broken = brokenOff(story);
        if (!broken) return undefined;
        const { file, times } = broken;
        return `${baseName(file.name)} broke off ${count(times, "time")}, last after ${sizeText(file.bytes)}`;
      },
      remedy:
        "packets are lost: look at the cable, the port's error counters and duplex, an MTU that differs on the way, or a firewall that forgets UDP connections",
    },
    {
      code: "loaded-again",
      severity: "hint",
      tell({ files }) {
        const times = new Map<string, number>();
        for (const file of files.filter(isSent)) {
          const stage = stageOfFile(file.name);
          if (stage !== "kernel" && stage !== "loader") continue;
          const name = baseName(file.name);
          times.set(name, (times.get(name) ?? 0) + 1);
        }
        const [most] = [...times].toSorted((one, other) => other[1] - one[1]);
        return most && most[1] >= 3
          ? `it loaded ${most[0]} ${most[1]} times: it starts over`
          : undefined;
      },
      remedy: "the loader or the kernel fails on this board: look at its screen",
    },
    {
      code: "stopped-after-file",
      severity: "problem",
      tell(story) {
        const last = story.files.findLast(isSent);
        const stage = last && stageOfFile(last.name);
        const isOver = stage === "kernel" || stage === "initrd" || stage === "agent";
        const isQuiet = since(story, story.lastHeard) > nextFile;
        if (!last || !stage || isOver || !isQuiet || isSentToItsDisk(story)) return undefined;
        if (missingOf(story) || brokenOff(story)) return undefined; // those say why
        return `${baseName(last.name)} was the last file, ${durationText(since(story, last.at))} ago`;
      },
      remedy(story) {
        const last = story.files.findLast(isSent);
        return stopped[(last && stageOfFile(last.name)) ?? "firmware"];
      },
    },
    {
      code: "boot-loop",
      severity: "problem",
      tell: ({ bootsBefore }) =>
        bootsBefore >= 3 ? `it started ${bootsBefore + 1} times within half an hour` : undefined,
      remedy: "it fails at the same place each time: read the time line of one boot, or its screen",
    },
  ],
};

/** Not found although needed, and nothing of its kind came later. */
function missingOf({ files }: Story): { readonly file: File; readonly remedy: string } | undefined {
  for (const [pattern, remedy] of needed) {
    const own = files.filter(({ name }) => pattern.test(baseName(name)) && !isProbe(name));
    const [file] = own; // the first is the name it wants; others are what it falls back to
    const isMissing = own.at(-1)?.outcome === "not-found" && !own.some(isSent);
    if (file && isMissing) return { file, remedy };
  }
  return undefined;
}

/** Two or more tries of the last file, none of which came to its end. A size probe ends after none. */
function brokenOff({ files }: Story): { readonly file: File; readonly times: number } | undefined {
  const file = files.findLast(({ outcome }) => outcome !== "not-found");
  if (file?.outcome !== "aborted") return undefined;
  const tries = files.filter(({ name }) => name === file.name);
  const times = tries.filter(({ outcome }) => outcome === "aborted").length;
  return times < 2 || tries.some(isSent) ? undefined : { file, times };
}
