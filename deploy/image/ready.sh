#!/bin/bash
# Whether the Whisker of this container takes work: GET /ready answers 200.
# In bash, since an image with curl is larger by what curl needs.
#
# usage: ready [PORT]   (WHISKER_PORT, else 3233)
set -eu
port=${1:-${WHISKER_PORT:-3233}}
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
