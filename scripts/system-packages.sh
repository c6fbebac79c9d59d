#!/bin/sh
# Debian packages that some tests use as peers.  Installed when we may, skipped with a word when not.
set -u
missing=
command -v tshark >/dev/null 2>&1 || missing="tshark"
command -v softhsm2-util >/dev/null 2>&1 || missing="$missing softhsm2"
command -v pebble >/dev/null 2>&1 || missing="$missing pebble"
[ -n "$missing" ] || exit 0
skipped="the tests that use them will be skipped"
skipped="$skipped (tshark: dissector; softhsm2: keys in a token; pebble: server of ACME)"
if [ "$(id -u)" != 0 ]; then
    echo "not installed, and this is not root: $missing; $skipped" \
         "(to run them: apt-get install $missing)"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "not installed, and there is no apt-get: $missing; $skipped"
    exit 0
fi
echo "installing $missing (used by tests) ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >/dev/null 2>&1
for package in $missing; do
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 \
        || echo "$package could not be installed: $skipped"
done
exit 0
