#!/bin/sh
# Licences, sources and duplicates of dependencies, and known holes in them
# where the database of holes can be reached.
set -eu
cd "$(dirname "$0")/.."
cargo deny --locked check bans licenses sources
if cargo deny --locked fetch db >/dev/null 2>&1; then
    cargo deny --locked check advisories
else
    echo "NOT CHECKED: the database of known holes (advisories) cannot be reached from here" >&2
fi
