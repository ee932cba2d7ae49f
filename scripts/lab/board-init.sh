#!/bin/sh
# A simulated board once its firmware has loaded something, in its own network, mount
# and UTS namespace. `netinst`: what netinst/initramfs/init does; `installed`: the
# system on its disk. The agent is the real one; it starts again when it is killed.
#
# Exit status: 10 reset by the agent, 11 powered off by it, 12 reset because nothing helped.

set -uf
readonly root="$BOARD_ROOT"
readonly run="$BOARD_DIRECTORY/run"

say() { echo "board: $*" >&2; }

# What this machine says about itself would be the same on every board.
mount -t tmpfs tmpfs /sys/firmware
mkdir -p /sys/firmware/devicetree/base
printf '%s\0' "$BOARD_MODEL" >/sys/firmware/devicetree/base/model
printf '%s\0' "$BOARD_SERIAL" >/sys/firmware/devicetree/base/serial-number
[ ! -d /sys/class/dmi/id ] || mount -t tmpfs tmpfs /sys/class/dmi/id

lease() {
  ip -4 addr flush dev eth0
  busybox udhcpc -i eth0 -f -q -n -t 6 -T 3 -A 1 -s "$BOARD_UDHCPC" >/dev/null 2>&1
}

# Stage 2 as the real one: fetched over HTTP, compared with the digest in the initramfs.
fetch() {
  url=$(echo "$BOARD_CMDLINE" | tr ' ' '\n' | sed -n 's/^marcoboot.url=//p')
  busybox wget -q -O "$run/stage2" "$url/boot/netinst/$BOARD_ARCHITECTURE/agent.squashfs" || return 1
  grep -q "$(sha256sum "$run/stage2" | cut -d ' ' -f 1)" "$run/site.json" || {
    say "stage 2 has another digest than the initramfs names"
    return 1
  }
}

agent() {
  nice -n "$BOARD_NICE" setpriv --pdeathsig KILL "$BOARD_NODE" "$BOARD_AGENT" --simulate \
    --architecture "$BOARD_ARCHITECTURE" --boot-id "$BOARD_BOOT_ID" --mac "$BOARD_MAC" --interface eth0 --disk-file "$BOARD_DISK" "$@"
}

netinst() {
  rm -rf "$run"
  mkdir -p "$run" "$root/etc"
  echo "$BOARD_SITE" >"$run/site.json"
  hostname netinst
  attempts=0
  pause=2
  while [ $attempts -lt 10 ]; do
    attempts=$((attempts + 1))
    if lease && { [ -s "$run/stage2" ] || fetch; }; then
      agent --role netinst --cmdline "$BOARD_CMDLINE" --site "$run/site.json" \
        --identity-dir "$run/identity" --agent-image "$run/stage2"
      ended=$?
      case $ended in 10 | 11) exit $ended ;; esac
      say "the agent ended with $ended"
    fi
    sleep $pause
    pause=$((pause * 2))
    [ $pause -le 30 ] || pause=30
  done
  exit 12
}

# The unit marcoboot-trial.service, on a system whose kernel and init work.
watch_trial() {
  trial="$root/var/lib/marcoboot/trial"
  [ -e "$trial" ] || return 0
  while sleep "$(cat "$trial")"; do
    [ -e "$trial" ] || return 0
    say "nobody confirmed this system"
    kill -USR1 $$ || return 0
  done
}

# Of images that do not work: `hangs` does nothing at all, `has-no-agent` boots.
installed() {
  if [ -e "$root/etc/hangs" ]; then sleep infinity; fi
  hostname "$(cat "$root/etc/hostname")"
  sleeper=
  trap 'kill $sleeper; exit 10' USR1
  watch_trial &
  if [ -e "$root/etc/has-no-agent" ]; then
    sleep infinity &
    sleeper=$!
    wait $sleeper
  fi
  until lease; do sleep 5; done
  while :; do
    agent --role resident --identity-dir "$root/var/lib/marcoboot/identity"
    ended=$?
    case $ended in 10 | 11) exit $ended ;; esac
    say "the agent ended with $ended"
    sleep 5
  done
}

ip link set lo up
ip link set eth0 up
"$BOARD_SYSTEM"
