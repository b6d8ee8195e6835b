# Compiles a Swift action: compile.sh SWIFTC SOURCE PREPARED MAIN. What it
# prints is an error; the program goes out on descriptor 3, in a tar.
#
# Source is one file, or an archive of Sources/*.swift. Dependencies cannot be
# fetched without a network: bring a program that is compiled already.
set -eu
swiftc=$1 source=$2 main=$4
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/src" "$work/out"
case $main in
'' | *[!A-Za-z0-9_]*)
    echo "no name for a function: $main"
    exit 1
    ;;
esac
if [ -f "$source/exec" ]; then
    cp "$source/exec" "$work/src/action.swift"
else
    find "$source" -name '*.swift' ! -name Package.swift -exec cp {} "$work/src" \;
fi
if ! ls "$work"/src/*.swift >/dev/null 2>&1; then
    echo "there is no Swift source in the archive"
    exit 1
fi
# One module, whose main file is the launcher and its last line.
for file in "$work"/src/*.swift; do
    if [ "$(basename "$file")" = main.swift ]; then mv "$file" "$work/src/action__.swift"; fi
done
{
    cat "$here/launcher.swift"
    printf '\nrun(%s)\n' "$main"
} >"$work/src/main.swift"
export HOME="$work" TMPDIR="$work"
if ! "$swiftc" -O -module-name action -o "$work/out/exec" "$work"/src/*.swift >"$work/said" 2>&1; then
    cat "$work/said"
    exit 1
fi
tar -C "$work/out" -cf - exec >&3
