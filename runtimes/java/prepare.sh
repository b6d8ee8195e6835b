# Compiles the launcher, once for all actions: prepare.sh JAVAC. Its classes
# go out on descriptor 3. Texts are joined as compile.sh says.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/out"
"$1" -encoding UTF-8 -proc:none -nowarn -XDstringConcat=inline -cp "$CLASSPATH" -d "$work/out" "$here/Launcher.java" >"$work/said" 2>&1 || {
    cat "$work/said"
    exit 1
}
tar -C "$work/out" -cf - . >&3
