#!/bin/sh
# Apply kubeyamls, restart the deployments that ran already, and wait until the whole path serves. Safe to run again.
#
#   ./restart.sh                                    in kubectl's current context and namespace
#   ./restart.sh --context kind-kind -n hello       options go to every kubectl
#   TIMEOUT=10m ./restart.sh                        wait longer for each rollout (default 3m)
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
timeout=${TIMEOUT:-3m}
deployments='hellogrpc hellohttp helloserve'

say() { echo "restart.sh: $*"; }
fail() {
  echo "restart.sh: $*" >&2
  exit 1
}

command -v kubectl >/dev/null ||
  fail "kubectl was not found in PATH; install it, or on a machine without a cluster try 'docker compose up'."

if ! why=$(kubectl "$@" version --request-timeout=10s 2>&1); then
  fail "no cluster answers: $(echo "$why" | tail -n 1)
restart.sh: is it running, and is 'kubectl config current-context' the one you mean?"
fi

# A deployment that this very run makes has nothing to restart.
running=''
for name in $deployments; do
  if [ -n "$(kubectl "$@" get deployment "$name" --ignore-not-found -o name)" ]; then
    running="$running deployment/$name"
  fi
done

kubectl "$@" apply -f "$here/kubeyamls"

if [ -n "$running" ]; then
  # Not quoted: one argument for each.
  # shellcheck disable=SC2086
  kubectl "$@" rollout restart $running
fi

for name in $deployments; do
  if ! kubectl "$@" rollout status "deployment/$name" --timeout="$timeout"; then
    kubectl "$@" get pods -l app=hello -o wide >&2 || true
    fail "$name was not complete within $timeout; above are the pods. A pod that cannot pull its image needs" \
      "kubetester/$name:v1 loaded into the cluster; 'kubectl describe pod' says why another does not start."
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
