# shellcheck shell=sh
# Packets to OTHERS (address:ssh-port), to their OWN_PORT if that is set, and through DEVICE, captured meanwhile, each
# waited for SECONDS. NONCE in hexadecimal fills the echoes.
for tool in tcpdump ping bash base64; do
  command -v $tool >/dev/null || { echo "$tool is not installed" >&2; exit 127; }; done
d=$(mktemp -d) || exit 1; t=; kids=
trap '[ -z "$t" ] || kill $t 2>/dev/null; rm -rf "$d"' EXIT
errors() { awk '$1 !~ /^(Tcp|Udp):$/ { next } $1 in column { sum += $column[$1]; next }
  { for (i = 2; i <= NF; i++) if ($i == "InCsumErrors") column[$1] = i } END { print sum + 0 }' /proc/net/snmp; }
tcp() {
  said=$(timeout "$SECONDS_EACH" bash -c "</dev/tcp/$1/$2" 2>&1); code=$?
  case "$code $said" in
    0*) echo connected ;;
    124*) echo timed-out ;;
    *refused*) echo refused ;;
    *) echo no-route ;;
  esac
}
answers() { ping -n -c 1 -w "$SECONDS_EACH" -W "$SECONDS_EACH" "$@" >/dev/null 2>&1 && echo yes || echo no; }
passes() {
  for size in $SIZES; do
    (ping -n -c 1 -W 2 -M 'do' -s $((size - HEADERS)) "$1" >/dev/null 2>&1 && echo "$size") &
  done
  wait
}
way() {
  tcp "$1" "$2" >"$d/ssh.$1" & pid=$!
  { [ -z "$OWN_PORT" ] && echo - || tcp "$1" "$OWN_PORT"; } >"$d/own.$1" & own=$!
  ping=$(answers "$1"); wait $pid $own; largest=-
  mtu=$(cat "/sys/class/net/$interface/mtu")
  [ "$ping" = no ] || [ "$(answers -M 'do' -s $((mtu - HEADERS)) "$1")" = yes ] ||
    largest=$(passes "$1" | sort -n | tail -n 1)
  mac=$(ip -4 neigh show "$1" | sed -n 's/.* lladdr \([^ ]*\).*/\1/p' | head -n 1)
  printf 'way %s %s %s %s %s %s\n' "$1" "$ping" "$(cat "$d/ssh.$1")" "${mac:--}" "${largest:--}" "$(cat "$d/own.$1")"
}
through() {
  tcp "$1" "$KUBELET_PORT" >"$d/tcp.$1" & pid=$!
  ping=$(answers -p "$NONCE" "$1"); large=$ping
  [ "$ping" = no ] || large=$(answers -M 'do' -s $(($(cat "/sys/class/net/$DEVICE/mtu") - HEADERS)) "$1")
  wait $pid; printf 'tunnel %s %s %s %s\n' "$1" "$ping" "$large" "$(cat "$d/tcp.$1")"
}
interface=$(ip -4 -o route get "${OTHERS%%:*}" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
before=$(errors)
tcpdump -i "$interface" -n -s "$SNAPSHOT" --immediate-mode -Z root -U -w "$d/c.pcap" "$FILTER" >/dev/null 2>"$d/err" & t=$!
n=0; listens() { grep -q 'listening on' "$d/err" || ! kill -0 $t 2>/dev/null || [ $n -ge 60 ]; }
until listens; do n=$((n + 1)); sleep 0.05; done
for other in $OTHERS; do way "${other%%:*}" "${other#*:}" & kids="$kids $!"; done
for gateway in $(ip -4 route show dev "$DEVICE" 2>/dev/null | awk '$2 == "via" { print $3 }' | sort -u); do
  through "$gateway" & kids="$kids $!"; done
for kid in $kids; do wait "$kid"; done
kill -INT $t 2>/dev/null; wait $t; t=
echo "checksum-errors $(($(errors) - before))"
echo "offload $(ethtool -k "$DEVICE" 2>/dev/null | sed -n 's/^tx-checksumming: *//p')"
echo capture; base64 "$d/c.pcap"
