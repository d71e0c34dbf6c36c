#!/usr/bin/env bash
# How many instructions of the gateway a request takes in user space: a figure that is the same on a busy machine as on
# an idle one, and so tells whether a change has helped.
#
#   bench/instructions.sh [--path grpc|http] [--connections N] [--requests N] [EXECUTABLE]
#
# EXECUTABLE is target/dist/helloserve unless given; with symbols (CARGO_PROFILE_DIST_STRIP=none), what it prints
# can be looked into. Needs valgrind, and ab (Debian's apache2-utils), because a count needs a load that ends by number.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=stage.sh
. "$(dirname "$0")/stage.sh"

path=grpc connections=32 requests=3000 executable=$bin/helloserve
while [ $# -gt 0 ]; do
  case $1 in
    --path) path=$2 && shift ;;
    --connections) connections=$2 && shift ;;
    --requests) requests=$2 && shift ;;
    -*) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    *) executable=$(realpath "$1") ;;
  esac
  shift
done
need valgrind ab
profile=$target/callgrind.$path.out
rm -f "$profile"*

for number in 1 2 3; do hellogrpc "$number"; done
hellohttp 1
printf '#!/bin/sh\nexec valgrind --quiet --tool=callgrind --instr-atstart=no --callgrind-out-file=%q %q\n' \
  "$profile" "$executable" >"$run/watched"
chmod +x "$run/watched"
# Under valgrind a call takes its time.
helloserve helloserve 18200 "$run/watched" UPSTREAM_TIMEOUT=30s HTTP_TARGET="http://$backend_host.1:18100/hellohttp" \
  GRPC_TARGET="ipv4:$backend_host.1:18000,$backend_host.2:18000,$backend_host.3:18000"

# asks COUNT: so many requests, all of which must be answered.
asks() {
  ab -q -k -n "$1" -c "$connections" "http://$gateway_host:18200/hello$path?name=x" >"$run/ab" 2>&1
  if ! grep -q '^Failed requests: *0$' "$run/ab" || grep -q '^Non-2xx' "$run/ab"; then
    cat "$run/ab" >&2
    return 1
  fi
}
asks 300
callgrind_control --instr=on "$started" >/dev/null
asks "$requests"
callgrind_control --instr=off "$started" >/dev/null
callgrind_control --dump "$started" >/dev/null
count=$(awk '/^(summary|totals):/ { n = $2 } END { print n }' "$profile.1")
echo "/hello$path, $connections connections: $((count / requests)) instructions a request; callgrind_annotate $profile.1"
