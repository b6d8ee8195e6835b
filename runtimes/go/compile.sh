# Compiles a Go action: compile.sh GO SOURCE PREPARED MAIN. What it prints is
# an error; the program goes out on descriptor 3, in a tar.
#
# Source is one file, or an archive of package main at the top or in main/,
# with go.mod and vendor/ if it has modules, or without go.mod, as folders of a
# GOPATH. A package that has a main of its own speaks for itself.
set -eu
go=$1 source=$2 prepared=$3 main=$4
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/src" "$work/out" "$work/cache"
# Those of the standard library are compiled already.
cp -rs "$prepared/." "$work/cache"
chmod -R u+w "$work/cache"

case $main in
'' | *[!A-Za-z0-9_]*)
    echo "no name for a function: $main"
    exit 1
    ;;
esac
first=$(printf %.1s "$main" | tr a-z A-Z)
main=$first${main#?}

export HOME="$work" GOCACHE="$work/cache" GOPATH="$work/go" GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0
export GOFLAGS=-buildvcs=false GOTELEMETRY=off TMPDIR="$work"
package=$work/src
if [ -f "$source/exec" ]; then
    cp "$source/exec" "$package/action.go"
else
    cp -rL "$source/." "$package"
    if ! ls "$package"/*.go >/dev/null 2>&1 && [ -d "$package/main" ]; then
        if [ ! -e "$package/go.mod" ]; then
            mkdir -p "$GOPATH"
            mv "$package" "$GOPATH/src"
            package=$GOPATH/src
            export GO111MODULE=off
        fi
        package=$package/main
    fi
fi
chmod -R u+w "$package"
if ! ls "$package"/*.go >/dev/null 2>&1; then
    echo "there is no Go source in package main"
    exit 1
fi
if ! grep -Eqs '^func[[:space:]]+main[[:space:]]*\(' "$package"/*.go; then
    cp "$here/launcher.go" "$package/launcher__.go"
    printf 'package main\n\nvar entry__ any = %s\n' "$main" >"$package/entry__.go"
fi
cd "$package"
if [ "${GO111MODULE:-}" != off ] && [ ! -e go.mod ] && [ ! -e ../go.mod ]; then
    printf 'module action\n\ngo 1.18\n' >go.mod
fi
if ! "$go" build -trimpath -ldflags='-s -w' -o "$work/out/exec" . >"$work/said" 2>&1; then
    cat "$work/said"
    exit 1
fi
tar -C "$work/out" -cf - exec >&3
