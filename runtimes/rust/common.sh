# What prepare.sh and compile.sh share: crates from a folder, and the package
# that joins the launcher with an action.
#
# There is no network. Crates come from the operator's `modules/rust`, which
# `cargo vendor` makes, or from Debian's packages (librust-*-dev).
crates=/usr/share/cargo/registry
[ ! -d /modules/rust ] || crates=/modules/rust
work=/tmp/build
mkdir -p "$work/src" "$work/action/src" "$work/home"
export HOME="$work/home" CARGO_HOME="$work/home" CARGO_TARGET_DIR="$work/target" CARGO_NET_OFFLINE=true
cat >"$work/home/config.toml" <<EOF
[source.crates-io]
replace-with = "here"
[source.here]
directory = "$crates"
EOF

# join PACKAGE: the launcher's package, for an action's of that name.
join() {
    cat >"$work/Cargo.toml" <<EOF
[package]
name = "exec"
version = "0.0.0"
edition = "2018"

[dependencies]
actions = { path = "action", package = "$1" }
serde_json = "1"

[profile.release]
strip = true

[workspace]
members = ["action"]
EOF
    cp "$here/launcher.rs" "$work/src/main.rs"
}

# package FILE: that of an action which is one file. What derives takes as long
# to compile as all the rest, so that it is there for those who name it.
package() {
    cat >"$work/action/Cargo.toml" <<EOF
[package]
name = "actions"
version = "0.0.0"
edition = "2018"

[dependencies]
serde = "1"
serde_json = "1"
EOF
    if grep -Eq 'serde_derive|derive\(|Serialize' "$1"; then
        sed -i 's/^serde = .*/serde = { version = "1", features = ["derive"] }\nserde_derive = "1"/' \
            "$work/action/Cargo.toml"
    fi
}

# build CARGO: silent if it succeeds.
build() {
    if ! (cd "$work" && "$1" build --release --offline --quiet) >"$work/said" 2>&1; then
        cat "$work/said"
        exit 1
    fi
}
