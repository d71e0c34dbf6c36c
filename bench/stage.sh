# Sourced by the scripts in this folder: starts programs on loopback, waits until they serve, reads their CPU time and
# memory, and ends them by process ID.
# shellcheck shell=bash

# Other programs are unlikely to listen on these addresses.
backend_host=127.77.1
gateway_host=127.77.0.1

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
target=${CARGO_TARGET_DIR:-$root/target}
# The default folder of the programs.
bin=$target/dist
venv=$target/bench-venv
run=$(mktemp -d)
pids=()
# The process that was started last.
started=

# built PROGRAM...: builds programs as for the images. Static linking reduces their memory.
built() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  (cd "$root" && RUSTFLAGS=$(sed -n 's/^ENV RUSTFLAGS="\(.*\)"$/\1/p' Dockerfile) \
    cargo build --profile dist --locked --target "$host" "${@/#/-p}")
  bin=$target/$host/dist
}

# start NAME COMMAND...: starts a command in the background, with its output in a file.
start() {
  local name=$1
  shift
  "$@" </dev/null >"$run/$name.log" 2>&1 &
  started=$!
  pids+=("$started")
}

# serves NAME ADDRESS PORT: waits until the program that was started last listens there.
serves() {
  local try
  for try in {1..200}; do
    if (exec 3<>"/dev/tcp/$2/$3") 2>/dev/null; then return 0; fi
    kill -0 "$started" 2>/dev/null || break
    [ "$try" -lt 200 ] && sleep 0.05
  done
  echo "$1 does not listen on $2:$3; the end of its log:" >&2
  tail -n 20 "$run/$1.log" >&2
  return 1
}

# hellogrpc NUMBER, hellohttp NUMBER: starts a backend at 127.77.1.NUMBER.
hellogrpc() {
  start "hellogrpc-$1" env LISTEN_ADDR="$backend_host.$1:18000" ADMIN_ADDR="$backend_host.$1:18080" \
    POD_NAME="pod-$1" "$bin/hellogrpc"
  serves "hellogrpc-$1" "$backend_host.$1" 18000
}
hellohttp() {
  start "hellohttp-$1" env LISTEN_ADDR="$backend_host.$1:18100" ADMIN_ADDR='' POD_NAME="pod-$1" "$bin/hellohttp"
  serves "hellohttp-$1" "$backend_host.$1" 18100
}

# helloserve NAME PORT EXECUTABLE SETTING=VALUE...: starts a gateway with the image's settings, except for addresses.
helloserve() {
  local name=$1 port=$2 executable=$3 settings
  shift 3
  mapfile -t settings < <(sed -n '/^FROM scratch AS helloserve$/,/^ENTRYPOINT/ s/^ENV //p' "$root/Dockerfile")
  start "$name" env "${settings[@]}" LISTEN_ADDR="$gateway_host:$port" ADMIN_ADDR="$gateway_host:$((port + 1))" \
    POD_NAME="$name" "$@" "$executable"
  serves "$name" "$gateway_host" "$port"
}

# cpu PID...: prints the user and system CPU time of the processes, in milliseconds.
cpu() {
  local pid stat ticks=0
  for pid in "$@"; do
    stat=$(<"/proc/$pid/stat")
    # The program's name, in parentheses, may contain spaces; utime and stime are the 12th and 13th fields after it.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    ticks=$((ticks + ${12} + ${13}))
  done
  echo $((ticks * 1000 / $(getconf CLK_TCK)))
}

# memory PID: prints the resident memory of the process, in KiB.
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

# peak_begins PID: resets the peak resident memory of the process.
peak_begins() { echo 5 >"/proc/$1/clear_refs"; }

# peak PID: prints the peak resident memory since the reset, in KiB.
peak() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status"; }

# peak_mb PID: prints the same in MB.
peak_mb() { awk "BEGIN { printf \"%.1f\", $(peak "$1") / 1024 }"; }

# wrk_for URL CONNECTIONS SECONDS: runs wrk and prints the fields of report.lua.
wrk_for() {
  local out
  out=$(wrk --threads 1 --connections "$2" --duration "${3}s" --timeout 10s --script "$here/report.lua" "$1" 2>&1)
  if ! grep -P '^report\t' <<<"$out" | cut -f 2-; then
    echo "wrk has no result for $1: $out" >&2
    return 1
  fi
}

python_packages() {
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
}

need() {
  local tool missing=0
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; Debian has it as $tool" >&2; missing=1; }
  done
  [ "$missing" -eq 0 ]
}

finish() {
  local code=$? pid
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  sleep 0.2
  for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$run"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
