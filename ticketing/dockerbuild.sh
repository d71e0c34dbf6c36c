#!/bin/sh
# Builds the image of ticketing, and pushes it when PUSH=1; `--help` has the rest.
exec "$(dirname -- "$0")/../dockerbuild.sh" ticketing "$@"
