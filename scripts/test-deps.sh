#!/bin/sh
# What the tests need beyond npm: installed when this is root on Debian, otherwise named exactly. Quiet and quick when all is there.
set -eu

# command:package
needed="dig:bind9-dnsutils kdig:knot-dnsutils curl:curl jq:jq git:git mkfifo:coreutils prlimit:util-linux"

missing=""
for pair in $needed; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
# A library of the pinned Node, which slim systems lack.
node="$(dirname "$0")/../node_modules/.bin/node"
if [ -x "$node" ] && "$node" --version 2>&1 | grep -q libatomic; then missing="$missing libatomic1"; fi
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "test-deps: installing$missing" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >&2
  exit 0
fi
echo "test-deps: the tests need these Debian packages:$missing" >&2
echo "test-deps: install them with: sudo apt-get install$missing" >&2
exit 1
