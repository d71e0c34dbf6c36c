#!/bin/sh
# Applies kubeyamls, restarts the Deployments that already ran, and waits until both paths answer. Safe to repeat.
#
#   ./restart.sh                                    in kubectl's current context and namespace
#   ./restart.sh --context kind-kind -n hello       options are passed to every kubectl command
#   TIMEOUT=10m ./restart.sh                        wait up to 10m for each rollout (default 3m)
#   REGISTRY=registry.example/team TAG=v2 ./restart.sh
#                                                   with the images that dockerbuild.sh made under these
#                                                   (default kubetester and v1)
#
# To undo: kubectl delete -f kubeyamls
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
timeout=${TIMEOUT:-3m}
registry=${REGISTRY:-kubetester}
tag=${TAG:-v1}
deployments='hellogrpc hellohttp helloserve'

say() { echo "restart.sh: $*"; }
fail() {
  echo "restart.sh: $*" >&2
  exit 1
}

case "${1-}" in
-h | --help) sed -n '2,/^set/ s/^# \{0,1\}//p' "$0" && exit ;;
esac

case $registry in
*[!A-Za-z0-9._:/-]* | /* | */ | *//*) fail "REGISTRY is '$registry', which cannot start the name of an image." ;;
esac
case $tag in
*[!A-Za-z0-9._-]*) fail "TAG is '$tag', which cannot be the tag of an image." ;;
esac

command -v kubectl >/dev/null ||
  fail "kubectl was not found in PATH; install it, or on a machine without a cluster try 'docker compose up'."

if ! why=$(kubectl "$@" version --request-timeout=10s 2>&1); then
  fail "no cluster answers: $(echo "$why" | tail -n 1)
restart.sh: is it running, and is 'kubectl config current-context' the one you mean?"
fi

# A namespace that does not exist would fail once for every object.
if ! why=$(kubectl "$@" apply --dry-run=server -f "$here/kubeyamls/grpc-svc.yaml" 2>&1); then
  case $why in
  *namespaces*'not found'*)
    fail "the namespace does not exist; create it with 'kubectl create namespace NAME'. kubectl: $(echo "$why" | tail -n 1)" ;;
  esac
fi

# A Deployment that this run creates needs no restart.
running=''
for name in $deployments; do
  if [ -n "$(kubectl "$@" get deployment "$name" --ignore-not-found -o name)" ]; then
    running="$running deployment/$name"
  fi
done

manifests=$here/kubeyamls
if [ "$registry/$tag" != kubetester/v1 ]; then
  manifests=$(mktemp -d)
  trap 'rm -rf "$manifests"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  for file in "$here"/kubeyamls/*.yaml; do
    sed "s|image: kubetester/\([a-z]*\):v1$|image: $registry/\1:$tag|" "$file" >"$manifests/${file##*/}"
  done
fi
kubectl "$@" apply -f "$manifests"

if [ -n "$running" ]; then
  # Not quoted: one argument for each.
  # shellcheck disable=SC2086
  kubectl "$@" rollout restart $running
fi

for name in $deployments; do
  if ! kubectl "$@" rollout status "deployment/$name" --timeout="$timeout"; then
    kubectl "$@" get pods -l app=hello -o wide >&2 || true
    fail "$name was not complete within $timeout; above are the pods. A pod that cannot pull its image needs" \
      "$registry/$name:$tag in a registry or in the cluster; 'kubectl describe pod' says why another does not start."
  fi
done

# Through the API server, because not every cluster gives the LoadBalancer an address.
namespace=$(kubectl "$@" get service serve-svc -o 'jsonpath={.metadata.namespace}')
for path in hellogrpc hellohttp; do
  tries=30
  until answer=$(kubectl "$@" get --request-timeout=5s --raw \
    "/api/v1/namespaces/$namespace/services/serve-svc:http/proxy/$path?name=restart.sh" 2>&1); do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "the pods are ready, but /$path does not answer: $answer"
    sleep 1
  done
  say "/$path answers $answer"
done
say "everything serves."
