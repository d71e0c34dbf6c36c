#!/bin/sh
# How large are the images, and how much memory do the idle programs use? Fails when one is over its limit.
# The images must be there: `docker compose build` and `docker build --target kubetester -t kubetester/kubetester:v1 .`
#
#   docs/sizes.sh
set -eu

image_limit=12000000 # bytes
# The tool has all three programs in it, and a client for any gRPC service and for Kubernetes' API. It is pulled when
# somebody wants to know something, and not with each pod.
tool_limit=18000000
memory_limit=10240   # KiB
prefix=kubetester-sizes-$$
over=0

cleanup() {
  docker rm -f "$prefix-hellogrpc" "$prefix-hellohttp" "$prefix-helloserve" >/dev/null 2>&1 || true
  docker network rm "$prefix" >/dev/null 2>&1 || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The backends first: a gateway is idle when it is connected and nobody calls.
start() {
  docker run -d --name "$prefix-$1" --network "$prefix" --network-alias "$2" \
    --read-only --cap-drop ALL --security-opt no-new-privileges:true "kubetester/$1:v1" >/dev/null
  tries=50
  until docker exec "$prefix-$1" "/$1" --health >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      echo "sizes.sh: $1 is not healthy; its log:" >&2
      docker logs "$prefix-$1" >&2
      exit 1
    fi
    sleep 0.2
  done
}
docker network create "$prefix" >/dev/null
start hellogrpc grpc-svc
start hellohttp http-svc
start helloserve serve-svc
# Let what belongs to the start be over.
sleep 3

printf '%-12s %12s %14s\n' program 'image (MB)' 'idle RSS (MB)'
for program in hellogrpc hellohttp helloserve kubetester; do
  bytes=$(docker image inspect -f '{{.Size}}' "kubetester/$program:v1")
  kib=0
  limit=$image_limit
  # kubetester is a tool: it is never idle.
  if [ "$program" = kubetester ]; then limit=$tool_limit; fi
  if [ "$program" != kubetester ]; then
    kib=$(docker top "$prefix-$program" -eo pid,rss | awk 'NR > 1 { sum += $2 } END { print sum + 0 }')
    [ "$kib" -gt 0 ] || { echo "sizes.sh: $program does not run any more" >&2; exit 1; }
  fi
  awk -v program="$program" -v bytes="$bytes" -v kib="$kib" 'BEGIN {
    printf "%-12s %12.1f %14s\n", program, bytes / 1e6, kib ? sprintf("%.1f", kib * 1024 / 1e6) : "-" }'
  if [ "$bytes" -ge "$limit" ] || [ "$kib" -ge "$memory_limit" ]; then
    over=1
  fi
done
if [ "$over" -ne 0 ]; then
  echo 'sizes.sh: over the limit: an image must be under 12 MB (kubetester: 16 MB), an idle program under 10 MiB' >&2
  exit 1
fi
