/**
 * What starts the agent with the installed system: two units where that has systemd, a script
 * where it has System V's init (LSB 5.0, init scripts), which Debian's and Devuan's insserv read.
 */

import type { RootTree } from "../root-tree.ts";
import { trialFile } from "./installed-system.ts";

/** Of the agent on the installed system. */
export const home = "/var/lib/marcoboot";

const mountUnit = `[Unit]
Description=Program files of the marcoboot agent

[Mount]
What=${home}/agent.squashfs
Where=${home}/agent
Type=squashfs
Options=loop,ro,nosuid,nodev

[Install]
WantedBy=multi-user.target
`;

const serviceUnit = `[Unit]
Description=marcoboot agent: reports this node, and does what its server orders
After=network.target
RequiresMountsFor=${home}/agent

[Service]
ExecStart=${home}/agent/run --role resident
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
  [ -x "$HOME_DIR/agent/run" ] ||
    mount -t squashfs -o loop,ro,nosuid,nodev "$HOME_DIR/agent.squashfs" "$HOME_DIR/agent" || return 1
  # An agent that ends is started again; the shell that does it is the service.
  setsid sh -c 'trap "kill \\$child 2>/dev/null; exit 0" TERM
    while :; do "$0/agent/run" --role resident & child=$!; wait $child; sleep 5 & child=$!; wait $child; done' \\
    "$HOME_DIR" >>"$LOG_FILE" 2>&1 </dev/null &
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
  const hasScripts = tree.has("/etc/init.d") && tree.has("/etc/rc2.d");
  if (!hasSystemd && hasScripts) return useInitScript(tree);
  if (!hasSystemd && !tree.has("/usr/lib/systemd") && !tree.has("/lib/systemd")) return undefined;
  const units = "/etc/systemd/system";
  for (const [name, content] of [
    ["var-lib-marcoboot-agent.mount", mountUnit],
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
