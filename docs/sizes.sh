#!/bin/sh
# How large are the images, and how much memory do the idle programs use? Fails when one is over its limit.
# The images must be there: `docker compose build`. That of the tool is measured too if it is there:
# `docker build --target kubetester -t kubetester/kubetester:v1 .`
# The gateway is measured a second time as kubeyamls runs it: with all its routes, one of which watches a stand-in of
# Kubernetes' API over TLS. That takes openssl, and Python with PyYAML (PYTHON names another).
#
#   docs/sizes.sh
set -eu
cd "$(dirname "$0")/.."

image_limit=12000000 # bytes
# It has four small services, and runs in the largest number.
hellogrpc_limit=5000000
# The tool has all three programs in it, and a client for any gRPC service and for Kubernetes' API. It is pulled when
# somebody wants to know something, and not with each pod.
tool_limit=24000000
memory_limit=11718   # KiB: 12 MB
prefix=kubetester-sizes-$$
over=0
python=${PYTHON:-target/ci-venv/bin/python}
[ -x "$python" ] || python=python3
folder=$(mktemp -d)
api=

cleanup() {
  for name in hellogrpc hellogrpc-2 hellogrpc-3 hellohttp helloserve on-kubernetes; do
    docker rm -f "$prefix-$name" >/dev/null 2>&1 || true
  done
  docker network rm "$prefix" >/dev/null 2>&1 || true
  [ -z "$api" ] || kill "$api" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# start NAME PROGRAM OPTION...: a container of the program, until it is healthy.
start() {
  name=$1 program=$2
  shift 2
  docker run -d --name "$prefix-$name" --network "$prefix" \
    --read-only --cap-drop ALL --security-opt no-new-privileges:true "$@" "kubetester/$program:v1" >/dev/null
  tries=50
  until docker exec "$prefix-$name" "/$program" --health >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      echo "sizes.sh: $name is not healthy; its log:" >&2
      docker logs "$prefix-$name" >&2
      exit 1
    fi
    sleep 0.2
  done
}

# address NAME: of the container.
address() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$prefix-$1"; }

# resident NAME: KiB of the container's program that are in memory.
resident() { docker top "$prefix-$1" -eo pid,rss | awk 'NR > 1 { sum += $2 } END { print sum + 0 }'; }

# The backends first: a gateway is idle when it is connected and nobody calls.
docker network create "$prefix" >/dev/null
start hellogrpc hellogrpc --network-alias grpc-svc --network-alias grpc-vip
start hellogrpc-2 hellogrpc --network-alias grpc-svc
start hellogrpc-3 hellogrpc --network-alias grpc-svc
start hellohttp hellohttp --network-alias http-svc
start helloserve helloserve

# The API server listens where containers reach this machine.
host=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "$prefix")
"$python" .ci/give_account.py "$folder" "$host" \
  "$(address hellogrpc)" "$(address hellogrpc-2)" "$(address hellogrpc-3)" 2>"$folder/log" &
api=$!
tries=100
until [ -e "$folder/environment" ]; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ] || ! kill -0 "$api" 2>/dev/null; then
    echo "sizes.sh: the stand-in of the API server does not start; its log:" >&2
    cat "$folder/log" >&2
    exit 1
  fi
  sleep 0.1
done
# The program is not root, and has to read what is mounted.
chmod -R go+rX "$folder"
start on-kubernetes helloserve --env-file "$folder/environment" \
  --volume "$folder/serviceaccount:/var/run/secrets/kubernetes.io/serviceaccount:ro"
# Every route leads to a pod, or what is measured is not what runs.
for route in round_robin pick_first least_request kubernetes vip; do
  curl -fsS --max-time 10 "http://$(address on-kubernetes):8200/hellogrpc?via=$route" >/dev/null || {
    echo "sizes.sh: the gateway's route $route does not work; its log:" >&2
    docker logs "$prefix-on-kubernetes" >&2
    cat "$folder/log" >&2
    exit 1
  }
done
# Let what belongs to the start be over.
sleep 3

printf '%-27s %12s %14s\n' program 'image (MB)' 'idle RSS (MB)'
# row PROGRAM LIMIT CONTAINER NOTE: bytes of the image, which has a limit; memory of the container, if there is one.
row() {
  bytes=$(docker image inspect -f '{{.Size}}' "kubetester/$1:v1")
  kib=0
  if [ -n "$3" ]; then
    kib=$(resident "$3")
    [ "$kib" -gt 0 ] || { echo "sizes.sh: $3 does not run any more" >&2; exit 1; }
  fi
  awk -v program="$1$4" -v bytes="$bytes" -v kib="$kib" 'BEGIN {
    printf "%-27s %12.1f %14s\n", program, bytes / 1e6, kib ? sprintf("%.1f", kib * 1024 / 1e6) : "-" }'
  if [ "$bytes" -ge "$2" ] || [ "$kib" -ge "$memory_limit" ]; then over=1; fi
}
row hellogrpc $hellogrpc_limit hellogrpc ''
row hellohttp $image_limit hellohttp ''
row helloserve $image_limit helloserve ''
row helloserve $image_limit on-kubernetes ', as in kubeyamls'
# kubetester is a tool: it is never idle.
if docker image inspect kubetester/kubetester:v1 >/dev/null 2>&1; then row kubetester $tool_limit '' ''; fi
if [ "$over" -ne 0 ]; then
  echo 'sizes.sh: over the limit: an image must be under 12 MB (hellogrpc: 5 MB, kubetester: 24 MB), an idle program under 12 MB' >&2
  exit 1
fi
