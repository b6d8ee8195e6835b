# Compiles a Rust action: compile.sh CARGO SOURCE PREPARED MAIN. What it prints
# is an error; the program goes out on descriptor 3, in a tar.
#
# Source is one file with a `pub fn main`, or an archive of a library package.
# Any error that can be printed will do: the signature is
# `fn(serde_json::Value) -> Result<serde_json::Value, E>`.
set -eu
cargo=$1 source=$2 prepared=$3 main=$4
here=$(dirname "$0")
. "$here/common.sh"
case $main in
'' | *[!A-Za-z0-9_]*)
    echo "no name for a function: $main"
    exit 1
    ;;
esac
mkdir "$work/target"
# With their times, by which cargo knows what is fresh.
cp -a "$prepared/." "$work/target"
chmod -R u+w "$work/target"
if [ -f "$source/exec" ]; then
    package "$source/exec"
    cp "$source/exec" "$work/action/src/lib.rs"
    name=actions
else
    cp -rL "$source/." "$work/action"
    chmod -R u+w "$work/action"
    if [ ! -f "$work/action/Cargo.toml" ]; then
        echo "there is no Cargo.toml in the archive"
        exit 1
    fi
    name=$(sed -n 's/^[[:space:]]*name[[:space:]]*=[[:space:]]*"\([A-Za-z0-9_-]*\)".*/\1/p' "$work/action/Cargo.toml" | head -n 1)
    rm -f "$work/action/Cargo.lock"
fi
join "$name"
sed -i "s/actions::main/actions::$main/" "$work/src/main.rs"
build "$cargo"
tar -C "$work/target/release" --hard-dereference -cf - exec >&3
