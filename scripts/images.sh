#!/bin/sh
# Builds the images of our runtimes, from their recipes in runtimes/, under the
# names that the manifest has: PREFIX/action-nodejs-v20:TAG and so on.
#
# usage: scripts/images.sh [--prefix PREFIX] [--tag TAG] [--base IMAGE] [LANGUAGE...]
#
# PREFIX is `whisker` and TAG `latest` if they are not given; all languages that
# have a recipe are built if none is named, but for those whose recipe says that
# it was not tried. --base takes the place of the recipes' own base image, for
# hosts that reach no registry.
#
# The proxy is linked statically if rustup's target for that is installed
# (rustup target add x86_64-unknown-linux-musl); else it needs a C library in
# the image that is at least as new as this host's.
set -eu
cd "$(dirname "$0")/.."
prefix=whisker
tag=latest
base=
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:?} && shift 2 ;;
    --tag) tag=${2:?} && shift 2 ;;
    --base) base=${2:?} && shift 2 ;;
    -*)
        sed -n '2,/^set/{/^#/p}' "$0" >&2
        exit 2
        ;;
    *) break ;;
    esac
done
if [ $# -eq 0 ]; then
    for recipe in runtimes/*/Dockerfile; do
        language=$(basename "$(dirname "$recipe")")
        if grep -q '^# Not tried:' "$recipe"; then
            echo "leaving out $language, whose recipe was not tried: make images LANGUAGES=$language builds it"
        else
            set -- "$@" "$language"
        fi
    done
fi

target=$(uname -m)-unknown-linux-musl
targets=${CARGO_TARGET_DIR:-target}
built=$targets/release
if command -v rustup >/dev/null && rustup target list --installed | grep -qx "$target"; then
    built=$targets/$target/release
    set_target="--target $target"
fi
# shellcheck disable=SC2086 # none or two words
cargo build --release --locked -p whisker-action-proxy ${set_target:-}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp -rT runtimes "$context"
cp "$built/whisker-action-proxy" "$context"
for language in "$@"; do
    [ -e "runtimes/$language/Dockerfile" ] || { echo "there is no recipe for $language" >&2 && exit 1; }
    # As many names as the manifest has for the language.
    names=$(python3 - "$language" <<'PYTHON'
import json, sys
manifest = json.load(open("runtimes/manifest.json"))
rows = manifest["runtimes"].get(sys.argv[1]) or manifest["blackboxes"]
print(*dict.fromkeys(row.get("image", row)["name"] for row in rows))
PYTHON
    )
    set --
    for name in $names; do
        set -- "$@" -t "$prefix/$name:$tag"
    done
    echo "building $language: $names"
    docker build -q ${base:+--build-arg "BASE=$base"} -f "$context/$language/Dockerfile" "$@" "$context" >/dev/null
done
