#!/bin/sh
# Writes nginx.conf to standard output, from what the environment says:
#
#   HOST            name by which the API is called              (api.example.org)
#   CERTIFICATE     chain for HOST and *.HOST, PEM               (path)
#   KEY             its private key, PEM                         (path)
#   CONTROLLERS     where servers listen, by spaces              (127.0.0.1:3233)
#   HTTPS, HTTP     what NGINX listens on                        (443, 80)
#   USER_NAME       whom its workers run as                      (www-data)
#   RUN, LOG        folders for its own files and for logs       (/run, /var/log/nginx)
#   CONNECTIONS     connections of one worker                    (16384)
#   FILES           files that it may open                       (as they need)
#   CLIENT_REQUESTS requests at once from one address            (1024)
#
# usage: HOST=api.example.org CERTIFICATE=… KEY=… deploy/nginx/render.sh > nginx.conf
set -eu
cd "$(dirname "$0")"
: "${HOST:?which name is the API called by}" "${CERTIFICATE:?which file}" "${KEY:?which file}"

lines=""
for controller in ${CONTROLLERS:-127.0.0.1:3233}; do
    lines="$lines        server $controller max_fails=2 fail_timeout=2s;
"
done
connections=${CONNECTIONS:-16384}

# A value is a line of awk's environment, so that nothing in it is special.
export HOST CERTIFICATE KEY
CONTROLLER_LINES=$lines HTTPS=${HTTPS:-443} HTTP=${HTTP:-80} USER_NAME=${USER_NAME:-www-data} \
RUN=${RUN:-/run} LOG=${LOG:-/var/log/nginx} CONNECTIONS=$connections FILES=${FILES:-$((connections * 2 + 64))} \
CLIENT_REQUESTS=${CLIENT_REQUESTS:-1024} awk '
    # Puts a value, as it is, in every place that it has.
    function put(text, place, value,    at, done) {
        done = ""
        while ((at = index(text, "@" place "@")) > 0) {
            done = done substr(text, 1, at - 1) value
            text = substr(text, at + length(place) + 2)
        }
        return done text
    }
    function file(path,    line, all) {
        all = ""
        while ((getline line < path) > 0) all = all line "\n"
        close(path)
        return all
    }
    BEGIN {
        pattern = ENVIRON["HOST"]
        gsub(/\./, "\\.", pattern)
        errors = file("errors.conf.template")
        text = file("nginx.conf.template")
        text = put(text, "ERRORS", errors)
        text = put(text, "CONTROLLERS", ENVIRON["CONTROLLER_LINES"])
        text = put(text, "HOST_PATTERN", pattern)
        text = put(text, "USER", ENVIRON["USER_NAME"])
        n = split("HOST CERTIFICATE KEY HTTPS HTTP RUN LOG CONNECTIONS FILES CLIENT_REQUESTS", names, " ")
        for (i = 1; i <= n; i++) text = put(text, names[i], ENVIRON[names[i]])
        printf "%s", text
    }'
