# Compiles what every Go action takes of the standard library, once for all of
# them: prepare.sh GO. The compiler's cache goes out on descriptor 3.
set -eu
go=$1
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/src" "$work/cache"
export HOME="$work" GOCACHE="$work/cache" GOPATH="$work/go" GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0
export GOFLAGS=-buildvcs=false GOTELEMETRY=off TMPDIR="$work"
cd "$work/src"
cp "$here/launcher.go" .
printf 'module action\n\ngo 1.18\n' >go.mod
cat >action.go <<'EOF'
package main

import (
	_ "encoding/base64"
	_ "io"
	_ "math"
	_ "sort"
	_ "sync"
	_ "time"
)

var entry__ any = func(input map[string]any) map[string]any { return input }
EOF
"$go" build -trimpath -ldflags='-s -w' -o "$work/exec" . >"$work/said" 2>&1 || {
    cat "$work/said"
    exit 1
}
tar -C "$work/cache" -cf - . >&3
