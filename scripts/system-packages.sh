#!/bin/sh
# Debian packages that some tests use as peers.  Installed when we may, skipped with a word when not.
set -u
command -v tshark >/dev/null 2>&1 && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "tshark is not installed and this is not root: the dissector tests will be skipped" \
         "(to run them: apt-get install tshark)"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tshark is not installed and there is no apt-get: the dissector tests will be skipped"
    exit 0
fi
echo "installing tshark (used by the dissector tests) ..."
export DEBIAN_FRONTEND=noninteractive
if apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq --no-install-recommends tshark >/dev/null 2>&1; then
    exit 0
fi
echo "tshark could not be installed: the dissector tests will be skipped"
