#!/bin/sh
# Makes what compose.yaml takes as secrets, in deploy/compose/secrets: a password
# for the database, and a certificate for localhost that nobody else believes.
# What is there already is left as it is; put a real certificate there instead.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets
if [ ! -s store-password ]; then
    head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' > store-password
fi
if [ ! -s entry-key.pem ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1' \
        -keyout entry-key.pem -out entry-certificate.pem 2>/dev/null
fi
# Files are mounted as they are, past this folder which only its owner enters, and
# a controller is not root in its container.
chmod 644 store-password entry-certificate.pem
chmod 700 .
