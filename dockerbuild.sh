#!/bin/sh
# Builds the images of the programs that are named, or all of them, and pushes them when asked.
#
#   ./dockerbuild.sh                                         kubetester/helloserve:v1 and the others
#   ./helloserve/dockerbuild.sh                              kubetester/helloserve:v1 alone
#   REGISTRY=registry.example/team TAG=v2 PUSH=1 ./dockerbuild.sh
#                                                            builds registry.example/team/helloserve:v2..., and pushes them
#   ./dockerbuild.sh hellogrpc --no-cache                    options are passed to docker build
#
# docker-compose.yml and restart.sh take the same REGISTRY (default kubetester) and TAG (default v1).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
registry=${REGISTRY:-kubetester}
tag=${TAG:-v1}

fail() {
  echo "dockerbuild.sh: $*" >&2
  exit 1
}

programs=''
while [ $# -gt 0 ]; do
  case $1 in
  -h | --help) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" && exit ;;
  -*) break ;;
  helloserve | hellogrpc | hellohttp | ticketing | kubetester) programs="$programs $1" ;;
  *) fail "no program is called '$1'; there are helloserve, hellogrpc, hellohttp, ticketing and kubetester." ;;
  esac
  shift
done
: "${programs:=helloserve hellogrpc hellohttp ticketing kubetester}"

case $registry in
*[!A-Za-z0-9._:/-]* | /* | */ | *//*) fail "REGISTRY is '$registry', which cannot start the name of an image." ;;
esac
case $tag in
*[!A-Za-z0-9._-]*) fail "TAG is '$tag', which cannot be the tag of an image." ;;
esac
case ${PUSH:-0} in
0 | '') push='' ;;
1) push=yes ;;
*) fail "PUSH is '$PUSH'; set it to 1 to push, or to 0." ;;
esac
[ -z "$push" ] || [ -n "${REGISTRY:-}" ] ||
  fail "PUSH=1 needs REGISTRY, the registry and folder that you may push to: REGISTRY=registry.example/team."
command -v docker >/dev/null || fail "docker was not found in PATH."
why=$(docker version 2>&1) || fail "no Docker daemon answers: $(echo "$why" | tail -n 1)"

for program in $programs; do
  image=$registry/$program:$tag
  docker build --target "$program" --tag "$image" "$@" "$here" || fail "$image was not built; above is why."
  [ -z "$push" ] || docker push "$image" ||
    fail "$image was not pushed; above is why. 'docker login' gives you access to a registry."
done
