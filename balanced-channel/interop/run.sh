#!/bin/sh
# Runs the gRPC interop cases on balanced-channel against grpc.testing.TestService on gRPC's official
# Python runtime. Needs cargo, python3 with venv, and PyPI for the first run. Fails when a case does.
#
#   INTEROP_VENV     where the Python packages are kept (default: target/interop-venv of the workspace)
#   INTEROP_PROGRAM  the client, where it is built already (default: cargo builds it)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../.." && pwd)
venv=${INTEROP_VENV:-$workspace/target/interop-venv}

# Made again when the list of packages changes.
if ! cmp -s "$here/server/requirements.txt" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv" || {
        echo "interop: python3 cannot make a venv; on Debian, install python3-venv" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/server/requirements.txt" || {
        echo "interop: the packages of server/requirements.txt cannot be installed from PyPI" >&2
        exit 1
    }
    cp "$here/server/requirements.txt" "$venv/requirements.txt"
fi

[ -n "${INTEROP_PROGRAM:-}" ] || cargo build --quiet --manifest-path "$workspace/Cargo.toml" -p interop

# The server says its port in its first line; a pipe hands it over and tells when the server is gone.
scratch=$(mktemp -d)
mkfifo "$scratch/port"
"$venv/bin/python" "$here/server/server.py" >"$scratch/port" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT INT TERM
read -r port <"$scratch/port" || {
    echo "interop: the server ended before it listened" >&2
    exit 1
}

if [ -n "${INTEROP_PROGRAM:-}" ]; then
    "$INTEROP_PROGRAM" --server_port "$port" "$@"
else
    cargo run --quiet --manifest-path "$workspace/Cargo.toml" -p interop -- --server_port "$port" "$@"
fi
