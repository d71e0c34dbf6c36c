#!/usr/bin/env bash
# What the gateway does with ten times the requests it can answer: it answers what it admits about as fast as before,
# sheds the rest with 503 and Retry-After, and its memory stays bounded.
#
#   bench/overload.sh [--bin FOLDER] [--seconds N]
#
# Capacity is made small, and known, by slow backends: three of them that take 100 ms, behind a gateway that admits 16
# requests at once (MAX_CONCURRENT_REQUESTS), so 160 answers a second. Then the load is 1, 2, 5 and 10 times that, at
# a steady rate over 1024 connections, whatever becomes of the requests (open loop). Needs Python 3 only.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=stage.sh
. "$(dirname "$0")/stage.sh"

build=1 seconds=8
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=$(realpath "$2") build=0 && shift ;;
    --seconds) seconds=$2 && shift ;;
    *) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac
  shift
done
[ "$build" -eq 0 ] || built helloserve hellogrpc

export RESPONSE_DELAY=100ms
for number in 1 2 3; do hellogrpc "$number"; done
unset RESPONSE_DELAY
helloserve helloserve 18200 "$bin/helloserve" MAX_CONCURRENT_REQUESTS=16 UPSTREAM_TIMEOUT=1s \
  GRPC_TARGET="ipv4:$backend_host.1:18000,$backend_host.2:18000,$backend_host.3:18000"
python3 "$here/offered.py" "$gateway_host:18200" "/hellogrpc?name=x" "$started" "$seconds" 160 1 2 5 10
