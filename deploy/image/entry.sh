#!/bin/sh
# Starts Whisker in a container. With cgroups of version 2 a group that has
# processes cannot hand controllers on to groups below it; the container's own
# group has this process. So it moves into a group beside those to come.
set -eu
root=/sys/fs/cgroup
if [ -w "$root/cgroup.subtree_control" ] && grep -q '^0::/$' /proc/self/cgroup; then
    mkdir -p "$root/server"
    # With an init process in front there are two to move.
    while read -r process; do
        echo "$process" > "$root/server/cgroup.procs" 2>/dev/null || :
    done < "$root/cgroup.procs"
fi
exec /usr/bin/whisker "$@"
