#!/bin/sh
# Installs what is missing for `make run`, `make test` or `make check`, and
# nothing that is there already.
#
# usage: scripts/install-deps.sh run|test|check
set -eu
cd "$(dirname "$0")/.."
task=${1:?run, test or check}

packages=""
# need COMMAND PACKAGE
need() {
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}

# SQLite is compiled from C; bwrap, ip and nft make containers; node and python3
# are the runtimes, where Debian's packages put them: containers see /usr.
need cc gcc
# Kafka's client is compiled from C and C++, with the TLS that it uses.
need c++ g++
need make make
perl -MFindBin -MIPC::Cmd -e 1 2>/dev/null || packages="$packages perl"
need curl curl
need bwrap bubblewrap
need ip iproute2
need nft nftables
[ -x /usr/bin/node ] || [ -x /usr/local/bin/node ] || packages="$packages nodejs"
[ -x /usr/bin/python3 ] || packages="$packages python3"
if [ "$task" = test ]; then
    need npm npm
    need dockerd docker.io
    need ruby ruby
    need php php-cli
    # Fetches Kafka and ZooKeeper, which the tests start, when they first need them.
    need mvn maven
    need openssl openssl
    [ -x /usr/sbin/nginx ] || need nginx nginx-light
    # They read what is in deploy/ as a host would.
    need systemd-analyze systemd
    /usr/bin/python3 -c 'import yaml' 2>/dev/null || packages="$packages python3-yaml"
    # Toolchains where containers see them, which is below /usr.
    [ -x /usr/local/go/bin/go ] || [ -x /usr/bin/go ] || packages="$packages golang-go"
    [ -x /usr/bin/javac ] || [ -x /usr/local/bin/javac ] || packages="$packages default-jdk-headless"
    [ -e /usr/share/java/gson.jar ] || packages="$packages libgoogle-gson-java"
    [ -x /usr/bin/cargo ] || [ -x /usr/local/cargo/bin/cargo ] || packages="$packages cargo rustc"
    ls -d /usr/share/cargo/registry/serde_json-1* >/dev/null 2>&1 || packages="$packages librust-serde-json-dev"
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
fi

if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "missing, and there is no apt-get to install it:$packages" >&2
        exit 1
    fi
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || {
            echo "missing, install as root:$packages" >&2
            exit 1
        }
        as_root=sudo
    fi
    echo "installing:$packages"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # words are packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing: https://rustup.rs installs it (1.89 or newer)" >&2
    exit 1
fi

# The client that the black-box tests call with, in its own ignored folder.
if [ "$task" = test ] && [ ! -e compat/npm/node_modules/openwhisk/package.json ]; then
    (cd compat/npm && npm ci --silent --no-audit --no-fund)
fi

# A server of CouchDB's protocol, likewise.
if [ "$task" = test ] && [ ! -e compat/pouchdb/node_modules/pouchdb-server/package.json ]; then
    (cd compat/pouchdb && npm ci --silent --no-audit --no-fund)
fi

# One of Cosmos DB's, likewise.
if [ "$task" = test ] && [ ! -e compat/cosmosdb/node_modules/@vercel/cosmosdb-server/package.json ]; then
    (cd compat/cosmosdb && npm ci --silent --no-audit --no-fund)
fi

if [ "$task" = check ] && ! command -v cargo-deny >/dev/null 2>&1; then
    cargo install --locked cargo-deny
fi
