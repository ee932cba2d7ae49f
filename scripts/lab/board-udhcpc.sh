#!/bin/sh
# What busybox udhcpc of a simulated board calls with its news ($1) and the lease in the environment.
[ "$1" != bound ] || ip addr add "$ip/$mask" broadcast + dev "$interface"
