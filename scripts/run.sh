#!/bin/sh
# Starts a server on its defaults, shows a function run, and goes on serving
# until Ctrl-C.
#
# usage: scripts/run.sh path/to/whisker [flags of `whisker serve`]
set -eu
binary=$(realpath "$1")
shift
cd "$(dirname "$0")/.."

output=$(mktemp)
"$binary" serve "$@" >"$output" &
server=$!
# Ctrl-C reaches the server by itself; it then ends gracefully.
trap 'rm -f "$output"' EXIT
trap 'kill "$server" 2>/dev/null; wait "$server"; exit $?' TERM
trap 'wait "$server"; exit $?' INT

while ! grep -q 'listens on http' "$output"; do
    kill -0 "$server" 2>/dev/null || { cat "$output"; wait "$server"; }
    sleep 0.05
done
cat "$output"
url=$(sed -n 's|.*listens on \(http://[^ ]*\).*|\1|p' "$output" | head -n 1)
key=$(sed -n 's|.*key of guest: ||p' "$output")
if [ -z "$key" ]; then
    echo "The key of guest was shown at the first start; the example needs it and is left out."
    wait "$server"
    exit $?
fi
actions=$url/api/v1/namespaces/_/actions
activations=$url/api/v1/namespaces/_/activations

# ask METHOD URL [BODY]
ask() {
    if [ $# -gt 2 ]; then
        curl -sS --fail-with-body -u "$key" -X "$1" -H 'Content-Type: application/json' -d "$3" "$2"
    else
        curl -sS --fail-with-body -u "$key" -X "$1" "$2"
    fi
}
pretty() { python3 -m json.tool --indent 2 --no-ensure-ascii; }
body=$(python3 -c 'import json; print(json.dumps({"exec": {"kind": "nodejs:20", "code": open("examples/hello.js").read()}}))')

echo
echo "== examples/hello.js"
cat examples/hello.js
echo
echo "== created as the action hello: PUT $actions/hello"
ask PUT "$actions/hello?overwrite=true" "$body" >/dev/null
echo
echo "== its result: POST $actions/hello?blocking=true with {\"name\":\"Ann\"}"
ask POST "$actions/hello?blocking=true" '{"name":"Ann"}' >"$output"
python3 -c 'import json,sys; print(json.dumps(json.load(sys.stdin)["response"]["result"], ensure_ascii=False))' <"$output"
id=$(python3 -c 'import json,sys; print(json.load(sys.stdin)["activationId"])' <"$output")
echo
echo "== its activation record, with logs: GET $activations/$id"
# Records are stored just after the answer.
tries=0
until ask GET "$activations/$id" >"$output" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$output"; exit 1; }
    sleep 0.05
done
pretty <"$output"
echo
echo "Serving on $url until Ctrl-C. The key of guest:"
echo "  $key"
wait "$server"
