# Compiles the launcher to what Python makes of it at every start, once for all
# of them: prepare.sh PYTHON. It goes out on descriptor 3.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
mkdir "$work/out"
# It is not looked at again: its name has a digest of the source.
"$1" -I -S -c '
from py_compile import PycInvalidationMode, compile
from sys import argv
compile(argv[1], argv[2], doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
' "$here/launcher.py" "$work/out/launcher.pyc"
tar -C "$work/out" -cf - . >&3
