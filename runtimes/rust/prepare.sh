# Compiles the crates that every Rust action takes, once for all of them:
# prepare.sh CARGO. What cargo made goes out on descriptor 3.
set -eu
here=$(dirname "$0")
. "$here/common.sh"
join actions
cat >"$work/action/src/lib.rs" <<'EOF'
use serde_json::{Error, Value};

pub fn main(args: Value) -> Result<Value, Error> {
    Ok(args)
}
EOF
package "$work/action/src/lib.rs"
build "$1"
# The action and the launcher are another's each time.
cd "$work/target/release"
rm -rf exec exec.d incremental deps/exec-* deps/*actions-* .fingerprint/exec-* .fingerprint/actions-*
tar -C "$work/target" --hard-dereference -cf - . >&3
