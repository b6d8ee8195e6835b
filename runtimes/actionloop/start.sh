# Becomes the action's own program, once the action is known.
#
# A container may wait, warm, before there is any code. The server's first line
# is a command for this shell: to change to the code's folder, and to replace
# itself by the program in it, which inherits the pipes and finds its variables
# set. `read` takes one byte at a time from a pipe, so that the lines of runs,
# which come next, are left to the program.
N='
'
IFS= read -r order || exit 0
eval "$order"
