/**
 * What starts the agent with the installed system: a unit where that has systemd, a script
 * where it has System V's init (LSB 5.0, init scripts), which Debian's and Devuan's insserv read.
 */

import type { RootTree } from "../root-tree.ts";
import { nextFile, programFile, runningFile } from "../self-update.ts";
import { trialFile } from "./installed-system.ts";

/** Of the agent on the installed system. */
export const home = "/var/lib/marcoboot";

/**
 * Starts the agent from its squashfs, again when it ends, and a new one for a trial: unless that
 * calls the server within the time it has, the one before goes on (self-update.ts). It needs nothing
 * of either.
 */
const startScript = `#!/bin/sh
# Runs the marcoboot agent: ${programFile}, or ${nextFile} once on trial.
cd "\${MARCOBOOT_HOME:-${home}}" || exit 1
PATIENCE=\${MARCOBOOT_TRIAL_SECONDS:-300}
child=
watch=

unmount() { while umount agent 2>/dev/null; do :; done; }
stop_watch() { [ -z "$watch" ] || kill "$watch" 2>/dev/null; watch=; }
# A signal ends the wait, not always the agent.
wait_for_child() { while kill -0 "$child" 2>/dev/null; do wait "$child"; done; child=; }
end() {
  stop_watch
  [ -z "$child" ] || { kill "$child" 2>/dev/null; wait_for_child; }
  unmount
  exit 0
}
trap end TERM INT
trap '[ -z "$child" ] || kill -HUP "$child"' HUP

run() {
  unmount
  mount -t squashfs -o loop,ro,nosuid,nodev "$1" agent || return 1
  shift
  agent/run --role resident --home "$PWD" "$@" &
  child=$!
  wait_for_child
  unmount
}

# The program takes ${nextFile} away when it has called.
try_next() {
  : >${runningFile}
  sync
  me=$$
  { sleep "$PATIENCE"; [ ! -e ${runningFile} ] || kill -USR1 $me; } >/dev/null 2>&1 &
  watch=$!
  trap '[ -z "$child" ] || kill -KILL "$child"' USR1
  run ${nextFile} --trial
  stop_watch
  trap '' USR1
}

while :; do
  if [ -e ${nextFile} ] && [ ! -e ${runningFile} ]; then
    try_next
    [ -e ${runningFile} ] || continue
    echo "the new agent did not call: going on with the one before" >&2
  fi
  rm -f ${nextFile} ${runningFile}
  run ${programFile}
  [ -e ${nextFile} ] && continue
  sleep 5 & child=$!
  wait_for_child
done
`;

const serviceUnit = `[Unit]
Description=marcoboot agent: reports this node, and does what its server orders
After=network.target
RequiresMountsFor=${home}

[Service]
ExecStart=/bin/sh ${home}/start
# reads the service files of discovery again
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`;

/**
 * A system on trial restarts unless its agent takes the file away in time: what boots then is the
 * system before. It needs nothing of the agent, which may be what does not work.
 */
const trialUnit = `[Unit]
Description=Goes back to the system before unless the marcoboot server confirms this one
ConditionPathExists=${home}/${trialFile}

[Service]
ExecStart=/bin/sh -c 'sleep "$(cat ${home}/${trialFile})"; [ ! -e ${home}/${trialFile} ] || { sync; systemctl reboot -f; }'

[Install]
WantedBy=multi-user.target
`;

const initScript = `#!/bin/sh
### BEGIN INIT INFO
# Provides:          marcoboot-agent
# Required-Start:    $remote_fs $network
# Required-Stop:     $remote_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: marcoboot agent
# Description:       Reports this node, and does what its server orders
### END INIT INFO

HOME_DIR=\${MARCOBOOT_HOME:-${home}}
PID_FILE=\${MARCOBOOT_PID_FILE:-/run/marcoboot-agent.pid}
LOG_FILE=\${MARCOBOOT_LOG_FILE:-/var/log/marcoboot-agent.log}

is_running() {
  [ -s "$PID_FILE" ] && kill -0 "$(cat "$PID_FILE")" 2>/dev/null
}

# A system on trial restarts unless its agent takes the file away in time.
watch_trial() {
  [ -e "$HOME_DIR/${trialFile}" ] || return 0
  setsid sh -c 'sleep "$(cat "$0")"; [ ! -e "$0" ] || { sync; reboot -f; }' "$HOME_DIR/${trialFile}" </dev/null &
}

start() {
  is_running && return 0
  watch_trial
  MARCOBOOT_HOME="$HOME_DIR" setsid sh "$HOME_DIR/start" >>"$LOG_FILE" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
}

stop() {
  is_running && kill "$(cat "$PID_FILE")"
  rm -f "$PID_FILE"
}

case "$1" in
  start) start ;;
  stop) stop ;;
  restart | force-reload) stop; start ;;
  status) is_running && echo "marcoboot-agent runs" || { echo "marcoboot-agent does not run"; exit 3; } ;;
  *) echo "usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
`;

const systemd = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/** @returns what will start it; undefined when the system has nothing that we know */
export function startAgentAtBoot(tree: RootTree): "systemd" | "sysv-init" | undefined {
  const hasSystemd = systemd.some((path) => tree.has(path));
  tree.write(`${home}/start`, startScript, 0o755);
  const hasScripts = tree.has("/etc/init.d") && tree.has("/etc/rc2.d");
  if (!hasSystemd && hasScripts) return useInitScript(tree);
  if (!hasSystemd && !tree.has("/usr/lib/systemd") && !tree.has("/lib/systemd")) return undefined;
  const units = "/etc/systemd/system";
  for (const [name, content] of [
    ["marcoboot-agent.service", serviceUnit],
    ["marcoboot-trial.service", trialUnit],
  ] as const) {
    tree.write(`${units}/${name}`, content);
    tree.link(`${units}/multi-user.target.wants/${name}`, `${units}/${name}`);
  }
  return "systemd";
}

function useInitScript(tree: RootTree): "sysv-init" {
  tree.write("/etc/init.d/marcoboot-agent", initScript, 0o755);
  const links = [
    ...["2", "3", "4", "5"].map((level) => `/etc/rc${level}.d/S99marcoboot-agent`),
    ...["0", "1", "6"].map((level) => `/etc/rc${level}.d/K01marcoboot-agent`),
  ];
  for (const link of links) tree.link(link, "../init.d/marcoboot-agent");
  return "sysv-init";
}
