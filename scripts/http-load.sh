#!/usr/bin/env bash
# Sends many requests through the proxy, with curl in parallel, and prints how often each status was answered.
set -euo pipefail

usage() {
  cat >&2 <<'USAGE'
usage: http-load.sh --url URL [--proxy URL] [--count N] [--parallel N] [--connect] [--interface A] [--expect STATUS=N,STATUS=N]

  --connect   a CONNECT tunnel for each request, as is made for https
  --expect    exit 1 unless the counts are exactly these; 000 counts requests without an answer

With --connect a refusal of the CONNECT itself is counted by its status. The counts are printed as STATUS=N, one a line.
Exit: 0 as expected, 1 not as expected, 2 usage.
USAGE
  exit 2
}

url='' proxy=http://127.0.0.1:3128 count=700 parallel=16 connect='' interface='' expect=''
while [ $# -gt 0 ]; do
  case $1 in
    --connect) connect=--proxytunnel; shift; continue ;;
    --url | --proxy | --count | --parallel | --interface | --expect)
      [ $# -ge 2 ] || usage
      declare "${1#--}=$2"
      shift 2
      ;;
    *) echo "http-load.sh: unknown option $1" >&2; usage ;;
  esac
done
[ -n "$url" ] || usage
for number in "$count" "$parallel"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo 'http-load.sh: --count and --parallel take whole numbers from 1 on' >&2; usage; }
done

config=$(mktemp)
trap 'rm -f "$config"' EXIT
for ((i = 0; i < count; i++)); do printf 'url = "%s"\noutput = /dev/null\n' "$url"; done >"$config"

options=(--silent --parallel --parallel-max "$parallel" --max-time 30 --proxy "$proxy" --noproxy '' --config "$config")
# Without the header one tunnel would serve many requests, and its CONNECT be judged once.
[ -n "$connect" ] && options+=("$connect" --header 'Connection: close')
[ -n "$interface" ] && options+=(--interface "$interface")
counts=$(
  curl "${options[@]}" --write-out '%{http_code} %{http_connect}\n' 2>/dev/null \
    | awk -v tunnelled="$connect" '{ status = ($1 == "000" && tunnelled != "" && $2 != "000") ? $2 : $1; n[status]++ } END { for (s in n) print s "=" n[s] }' \
    | sort || true
)
echo "$counts"

[ -z "$expect" ] && exit 0
if [ "$(tr ',' '\n' <<<"$expect" | grep -v '=0$' | sort)" = "$counts" ]; then exit 0; fi
echo "http-load.sh: expected $expect" >&2
exit 1
