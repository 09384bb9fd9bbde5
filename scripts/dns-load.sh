#!/usr/bin/env bash
# Asks a resolver for many names under one domain, with dig in batches, and prints how often each rcode was answered.
set -euo pipefail

usage() {
  cat >&2 <<'USAGE'
usage: dns-load.sh [--server A] [--port P] [--suffix D] [--count N] [--pattern LABEL] [--type T] [--tcp] [--bind A]
                   [--batch N] [--expect RCODE=N,RCODE=N]

  --pattern   label of each name, {} stands for its number (default n{})
  --batch     names asked in one run of dig (default 50)
  --expect    exit 1 unless the counts are exactly these; TIMEOUT counts names without an answer

The counts are printed as RCODE=N, one a line. Exit: 0 as expected, 1 not as expected, 2 usage.
USAGE
  exit 2
}

server=127.0.0.1 port=5300 suffix=load.example.com count=200 pattern='n{}' type=A tcp='' bind='' batch=50 expect=''
while [ $# -gt 0 ]; do
  case $1 in
    --tcp) tcp=+tcp; shift; continue ;;
    --server | --port | --suffix | --count | --pattern | --type | --bind | --batch | --expect)
      [ $# -ge 2 ] || usage
      declare "${1#--}=$2"
      shift 2
      ;;
    *) echo "dns-load.sh: unknown option $1" >&2; usage ;;
  esac
done
for number in "$count" "$batch"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo 'dns-load.sh: --count and --batch take whole numbers from 1 on' >&2; usage; }
done

names=$(mktemp)
trap 'rm -f "$names"' EXIT
for ((i = 0; i < count; i++)); do echo "${pattern//\{\}/$i}.$suffix $type"; done >"$names"

options=(@"$server" -p "$port" +noall +comments +time=6 +tries=1)
[ -n "$tcp" ] && options+=("$tcp")
[ -n "$bind" ] && options+=(-b "$bind")
counts=$(
  SHELL=/bin/sh split -l "$batch" --filter="dig ${options[*]@Q} -f /dev/stdin || true" "$names" \
    | sed -n -e 's/.*status: \([A-Z0-9]*\),.*/\1/p' \
    | awk -v asked="$count" '{ n[$1]++ } END { if (NR < asked) n["TIMEOUT"] = asked - NR; for (r in n) print r "=" n[r] }' \
    | sort
)
echo "$counts"

[ -z "$expect" ] && exit 0
if [ "$(tr ',' '\n' <<<"$expect" | grep -v '=0$' | sort)" = "$counts" ]; then exit 0; fi
echo "dns-load.sh: expected $expect" >&2
exit 1
