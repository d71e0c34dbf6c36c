#!/usr/bin/env bash
# Counts the user-space instructions of a program per request. The figure does not depend on the load of the machine, and
# therefore shows the effect of a change.
#
#   bench/instructions.sh [--path grpc|http] [--connections N] [--requests N] [EXECUTABLE [BEFORE]]
#   bench/instructions.sh --path say-hello [--connections N] [--requests N] [EXECUTABLE [BEFORE]]
#
# The first counts the gateway on /hellogrpc or /hellohttp, the second hellogrpc on hello.Hello/SayHello. EXECUTABLE is
# target/dist/helloserve or hellogrpc unless given. With BEFORE, another build of the same program, both are counted, and
# the ratio is printed. With symbols (CARGO_PROFILE_DIST_STRIP=none) the named profile can be read. Needs valgrind, and a
# load that ends by number: ab (Debian's apache2-utils), or kubetester for say-hello. The programs beside it are those of
# target/dist, or of the folder BIN.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=stage.sh
. "$(dirname "$0")/stage.sh"

path=grpc connections=32 requests=3000 executables=()
bin=${BIN:-$bin}
while [ $# -gt 0 ]; do
  case $1 in
    --path) path=$2 && shift ;;
    --connections) connections=$2 && shift ;;
    --requests) requests=$2 && shift ;;
    -*) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    *) executables+=("$(realpath "$1")") ;;
  esac
  shift
done
program=helloserve client=ab
[ "$path" != say-hello ] || program=hellogrpc client=$bin/kubetester
[ ${#executables[@]} -gt 0 ] || executables=("$bin/$program")
need valgrind "$client"

# watched NUMBER EXECUTABLE: writes a script that runs the executable under valgrind, with counting off at first.
watched() {
  profile=$target/callgrind.$path.$1.out
  rm -f "$profile"*
  printf '#!/bin/sh\nexec valgrind --quiet --tool=callgrind --instr-atstart=no --callgrind-out-file=%q %q\n' \
    "$profile" "$2" >"$run/watched-$1"
  chmod +x "$run/watched-$1"
}

# started_helloserve NUMBER, started_hellogrpc NUMBER: the watched program, at an address of its own.
started_helloserve() {
  # Calls are slow under valgrind.
  helloserve "helloserve-$1" "18${1}00" "$run/watched-$1" UPSTREAM_TIMEOUT=30s \
    HTTP_TARGET="http://$backend_host.1:18100/hellohttp" \
    GRPC_TARGET="ipv4:$backend_host.1:18000,$backend_host.2:18000,$backend_host.3:18000"
}
started_hellogrpc() {
  start "hellogrpc-$1" env LISTEN_ADDR="$gateway_host:18${1}00" ADMIN_ADDR='' POD_NAME=pod-1 "$run/watched-$1"
  serves "hellogrpc-$1" "$gateway_host" "18${1}00"
}

# asks NUMBER COUNT: sends COUNT requests, all of which must be answered.
asks() {
  local address=$gateway_host:18${1}00
  if [ "$path" = say-hello ]; then
    "$bin/kubetester" load "grpc://$address" -n "$2" -c "$connections" --timeout 30s --max-errors 0 \
      >"$run/load" 2>&1 || { cat "$run/load" >&2; return 1; }
    return
  fi
  ab -q -k -n "$2" -c "$connections" "http://$address/hello$path?name=x" >"$run/load" 2>&1
  if ! grep -q '^Failed requests: *0$' "$run/load" || grep -q '^Non-2xx' "$run/load"; then
    cat "$run/load" >&2
    return 1
  fi
}

if [ "$program" = helloserve ]; then
  for number in 1 2 3; do hellogrpc "$number"; done
  hellohttp 1
fi
counts=()
for executable in "${executables[@]}"; do
  number=$((${#counts[@]} + 2))
  watched "$number" "$executable"
  "started_$program" "$number"
  asks "$number" 300
  callgrind_control --instr=on "$started" >/dev/null
  asks "$number" "$requests"
  callgrind_control --instr=off "$started" >/dev/null
  callgrind_control --dump "$started" >/dev/null
  count=$(awk '/^(summary|totals):/ { n = $2 } END { print n }' "$profile.1")
  counts+=($((count / requests)))
  echo "$path, $connections connections: ${counts[-1]} instructions a request, $executable; callgrind_annotate $profile.1"
done
[ ${#counts[@]} -lt 2 ] || awk -v n="${counts[0]}" -v b="${counts[1]}" 'BEGIN { printf "%.4f of before\n", n / b }'
