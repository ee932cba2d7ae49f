/** `marcoboot image …` */

import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { sizeText } from "../../doctor/words.ts";
import {
  type Command,
  CommandError,
  confirm,
  exitCodes,
  type Run,
  required,
  textOf,
  yesOption,
} from "../command.ts";
import type { Image, Page } from "../shapes.ts";

async function findImage({ client }: Run, wanted: string): Promise<Image> {
  const { items } = (await client.get("/api/v1/images")) as Page<Image>;
  const matches = items.filter((one) => one.name === wanted || one.digest.startsWith(wanted));
  const [image] = matches;
  if (!image) throw new CommandError(`no image ${wanted}`, exitCodes.notFound);
  if (matches.length > 1) {
    const hint = `say which: ${matches.map((one) => one.digest.slice(0, 12)).join(" ")}`;
    throw new CommandError(`${wanted} names ${matches.length} images`, exitCodes.usage, hint);
  }
  return image;
}

/** Options of `push`, and the members they become. */
const describing = {
  format: "format",
  bootloader: "bootloader",
  digest: "digest",
  "root-size": "rootMiB",
  data: "data",
  keep: "keep",
};

async function push(run: Run): Promise<Image> {
  const { positionals, values, client, output } = run;
  const path = required(positionals[0], "FILE");
  const query = new URLSearchParams({
    name: textOf(values, "name") ?? basename(path).replace(/\..*$/, "").toLowerCase(),
    architecture: textOf(values, "architecture") ?? "amd64",
  });
  for (const [option, name] of Object.entries(describing)) {
    const value = textOf(values, option);
    if (value !== undefined) query.set(name, value);
  }
  const { size } = statSync(path);
  const file = createReadStream(path);
  let sent = 0;
  file.on("data", (part) => {
    sent += part.length;
    output.progress(`sending ${Math.floor((100 * sent) / size)} %`);
  });
  for await (const line of client.upload(`/api/v1/images?${query}`, file, size)) {
    const { percent, image, problem } = line as {
      percent?: number;
      image?: Image;
      problem?: { title: string };
    };
    if (percent !== undefined) output.progress(`checking ${percent} %`);
    if (problem) throw new CommandError(`image not taken: ${problem.title}`, exitCodes.failed);
    if (image) return image;
  }
  throw new CommandError("the server ended the answer early", exitCodes.failed);
}

export const imageCommands: readonly Command[] = [
  {
    noun: "image",
    verb: "list",
    about: "images in the library",
    positionals: [],
    options: {},
    examples: ["marcoboot image list"],
    async run({ client, output }) {
      const { items } = (await client.get("/api/v1/images")) as Page<Image>;
      output.table(
        ["name", "architecture", "format", "disk", "stored", "digest", "from"],
        items.map((image) => [
          image.name,
          image.architecture,
          image.format,
          sizeText(image.sizeBytes),
          image.isMissing ? "missing: push it again" : sizeText(image.storedBytes),
          image.digest.slice(0, 12),
          image.origin?.name,
        ]),
        items,
      );
      if (items.length === 0) output.say("no image yet: marcoboot image push FILE");
      return exitCodes.done;
    },
  },
  {
    noun: "image",
    verb: "push",
    about:
      "upload an image: raw disk with an ext4 root, or root file system as tar; plain or .gz .xz .zst",
    positionals: ["FILE"],
    options: {
      name: { type: "string", value: "NAME", about: "default: the file's name" },
      architecture: { type: "string", value: "ARCH", about: "amd64 (default) or arm64" },
      format: {
        type: "string",
        value: "FORMAT",
        about: "raw or rootfs-tar; default: looked at; file: to be copied as it is",
      },
      bootloader: { type: "string", value: "KIND", about: "grub, raspberry-pi or none" },
      digest: { type: "string", value: "SHA256", about: "refuse the image unless it has this one" },
      "root-size": {
        type: "string",
        value: "MIB",
        about: "root file system: two root slots of this size and a data partition, for updates",
      },
      data: { type: "string", value: "PATH", about: "where the data partition goes; default /srv" },
      keep: {
        type: "string",
        value: "PATHS",
        about: "what an update carries over; commas between",
      },
    },
    examples: [
      "marcoboot image push debian-12.img.zst --name debian-12",
      "marcoboot image push web.tar.zst --root-size 4096 --data /srv --keep /etc/app",
      "marcoboot image push pi.tar.zst --architecture arm64 --bootloader raspberry-pi --root-size 4096",
    ],
    async run(run) {
      const image = await push(run);
      run.output.value(image, `${image.name} ${image.digest}`);
      return exitCodes.done;
    },
  },
  {
    noun: "image",
    verb: "delete",
    about: "delete an image",
    positionals: ["IMAGE"],
    options: { yes: yesOption },
    examples: ["marcoboot image delete debian-11 --yes"],
    async run(run) {
      const image = await findImage(run, required(run.positionals[0], "IMAGE"));
      await confirm(run, `Image ${image.name} (${image.digest}) will be deleted.`, image.name);
      await run.client.send("DELETE", `/api/v1/images/${image.digest}`);
      run.output.say(`image ${image.name} is deleted`);
      return exitCodes.done;
    },
  },
];
