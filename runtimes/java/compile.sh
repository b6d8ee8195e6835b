# Compiles a Java action: compile.sh JAVAC SOURCE PREPARED MAIN. What it prints
# is an error; classes go out on descriptor 3, in a tar.
#
# Source is one file, or an archive of sources, with jars that they need in it.
# An archive of classes is left as it is. (A jar does not come here.)
#
# `a + b` of texts becomes the code that it was before Java 9: what came then
# takes 20 ms at its first use in a process, which here is a function's first run.
set -eu
javac=$1 source=$2 main=$4
work=$(mktemp -d)
mkdir "$work/src" "$work/out"
if [ -f "$source/exec" ]; then
    # A public class stands in a file of its name.
    class=${main%%#*}
    class=${class##*.}
    case $class in
    '' | *[!A-Za-z0-9_\$]*)
        echo "no name for a class: $main"
        exit 1
        ;;
    esac
    cp "$source/exec" "$work/src/$class.java"
else
    cp -rL "$source/." "$work/src"
    chmod -R u+w "$work/src"
fi
cd "$work/src"
find . -name '*.java' >"$work/sources"
if [ -s "$work/sources" ]; then
    for jar in $(find . -name '*.jar'); do
        CLASSPATH=$CLASSPATH:$jar
    done
    if ! "$javac" -encoding UTF-8 -proc:none -nowarn -XDstringConcat=inline -cp "$CLASSPATH:." -d "$work/out" "@$work/sources" >"$work/said" 2>&1; then
        cat "$work/said"
        exit 1
    fi
    find . -name '*.java' -delete
fi
cp -r . "$work/out"
tar -C "$work/out" -cf - . >&3
