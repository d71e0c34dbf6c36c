#!/usr/bin/env bash
# Measures the gateway under ten times its capacity: it answers admitted requests about as fast as before, sheds the
# rest with 503 and Retry-After, and its memory stays bounded.
#
#   bench/overload.sh [--bin FOLDER] [--seconds N]
#
# Slow backends make the capacity small and known: three backends take 100 ms each, and the gateway admits 16 concurrent
# requests (MAX_CONCURRENT_REQUESTS), which is 160 answers a second. The load is 1, 2, 5 and 10 times that, at a steady
# rate over 512 connections (open loop). It is repeated with backends that take 300 ms, which is longer than the hedging
# delay, and 48 concurrent requests. Needs Python 3 only.
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

echo "| backends take | offered/s | answered 200/s | 503/s | p50 of 200 ms | p99 of 200 ms | p99 of 503 ms" \
  "| calls at the backends per 200 | RSS MB | CPU % | others |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"

# offered DELAY ADMITTED: four rows of the table.
offered() {
  local number endpoints=() admin=() before=${#pids[@]}
  for number in 1 2 3; do
    RESPONSE_DELAY=$1 hellogrpc "$number"
    endpoints+=("$backend_host.$number:18000")
    admin+=("$backend_host.$number:18080")
  done
  helloserve helloserve 18200 "$bin/helloserve" MAX_CONCURRENT_REQUESTS="$2" UPSTREAM_TIMEOUT=2s \
    GRPC_TARGET="ipv4:$(IFS=, && echo "${endpoints[*]}")"
  python3 "$here/offered.py" "$gateway_host:18200" "/hellogrpc?name=x" "$started" "$seconds" "$1" 160 \
    "$(IFS=, && echo "${admin[*]}")" 1 2 5 10
  kill "${pids[@]:$before}"
  wait "${pids[@]:$before}" 2>/dev/null || true
  pids=("${pids[@]:0:$before}")
}

offered 100ms 16
offered 300ms 48
