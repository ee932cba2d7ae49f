/**
 * Stand-ins for `gpioset` and `gpioget` of gpiod 1.x and 2.x: they know the
 * options of their version only, refuse a line that another process holds, give
 * it back to 0 when that one ends, and write down who touched what.
 */

import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { milliseconds } from "#protocol/brand.ts";
import { systemClock } from "../../server/clock.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export interface FakeGpiod {
  /** For the driver: where the programs are. */
  readonly path: string;
  /** The level of a line's pin. */
  level(line: number): "0" | "1";
  /** One line for each program that was run, its arguments included. */
  calls(): readonly string[];
  /** Ends the process that holds the line, as a reboot would. */
  killHolder(line: number): Promise<void>;
}

const options = {
  1: {
    background: "--background",
    ignored: "--mode=signal|--mode=exit",
    chip: "gpiochip*",
    version: "gpioset (libgpiod) v1.6.3",
  },
  2: {
    background: "--daemonize",
    ignored: "--consumer=*|--toggle=0",
    chip: "--chip=gpiochip*",
    version: "gpioset (libgpiod) v2.2.1",
  },
} as const;

const gpioset = (version: 1 | 2, directory: string): string => {
  const { background, ignored, chip, version: text } = options[version];
  return `#!/bin/sh
cd ${directory}
[ "$1" = --version ] && { echo "${text}"; exit 0; }
held= low=0 value=
for word; do
  case "$word" in
    ${background}) held=1;;
    --active-low) low=1;;
    ${ignored}) ;;
    ${chip}) ;;
    [0-9]*=[01]) value=$word;;
    *) echo "gpioset: unrecognized option '$word'" >&2; exit 1;;
  esac
done
line=\${value%=*} level=$(( \${value#*=} ^ low ))
if [ -n "$HOLDER" ]; then
  trap 'echo 0 > level-'$line'; rmdir held-'$line'; exit 0' TERM
  mkfifo wait-$$; exec 3<>wait-$$
  echo $level > level-$line; echo $$ > holder-$line; : > ready-$line
  while :; do read -r nothing <&3; done # as gpioset, it starts nothing: a fork would pass for another holder
fi
echo "gpioset $*" >> calls
if ! mkdir held-$line 2>/dev/null; then
  echo "gpioset: unable to request lines: Device or resource busy" >&2; exit 1
fi
if [ $line -ge 90 ]; then rmdir held-$line; echo "gpioset: no such line" >&2; exit 1; fi
if [ -n "$held" ]; then
  rm -f ready-$line
  HOLDER=1 setsid "$0" "$@" </dev/null >/dev/null 2>&1 &
  while [ ! -e ready-$line ]; do sleep 0.01; done
else
  echo $level > level-$line; rmdir held-$line
fi
`;
};

const gpioget = (version: 1 | 2, directory: string): string => `#!/bin/sh
cd ${directory}
echo "gpioget $*" >> calls
low=0 asis= line=
for word; do
  case "$word" in
    --as-is) asis=1;;
    --numeric|--chip=*|gpiochip*) ;;
    --active-low) low=1;;
    *) line=$word;;
  esac
done
[ -d held-$line ] && { echo "gpioget: Device or resource busy" >&2; exit 1; }
[ ${version} = 2 ] && [ -n "$asis" ] || echo 0 > level-$line
echo $(( $(cat level-$line 2>/dev/null || echo 0) ^ low ))
`;

export function fakeGpiod(t: ExecutionContext, version: 1 | 2): FakeGpiod {
  const directory = temporaryDirectory(t);
  const install = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    chmodSync(join(directory, name), 0o755);
  };
  install("gpioset", gpioset(version, directory));
  install("gpioget", gpioget(version, directory));
  const read = (name: string) => {
    const file = join(directory, name);
    return existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  };
  const killHolder = async (line: number) => {
    const pid = Number(read(`holder-${line}`));
    if (pid === 0 || !existsSync(`/proc/${pid}`)) return;
    process.kill(pid, "SIGTERM");
    while (existsSync(join(directory, `held-${line}`))) {
      await systemClock.sleep(milliseconds(10));
    }
  };
  t.teardown(async () => {
    for (const line of [17, 18]) await killHolder(line);
  });
  return {
    path: `${directory}:/usr/bin:/bin`,
    level: (line) => (read(`level-${line}`) === "1" ? "1" : "0"),
    calls: () => read("calls").split("\n").filter(Boolean),
    killHolder,
  };
}
