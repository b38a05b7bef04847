# shellcheck shell=sh
# A line of JSON for each network namespace but the host's own that a process is in, and what is in that.
last='' own=$(stat -L -c %i /proc/self/ns/net) || exit 1
# By a descriptor that is held: the process that a namespace was found by may be a short one, and end while this reads.
inside() { nsenter --net=/proc/self/fd/7 "$@"; }
json() { out=$(inside "$@") || exit 1; printf '%s' "${out:-[]}"; }
lines() { sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&"/' | paste -s -d , -; }
stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null | sort -k 1,1 | while read -r id path; do
  [ "$id" != "$own" ] && [ "$id" != "$last" ] || continue
  { command exec 7<"$path"; } 2>/dev/null && [ "$(stat -L -c %i /proc/self/fd/7)" = "$id" ] || continue
  one=$(
    printf '{"id":%s,"links":' "$id"; json ip -j -d link show
    printf ',"addresses":'; json ip -4 -j addr show
    printf ',"routes":'; json ip -4 -j -d route show table all
    printf ',"neighbours":'; json ip -4 -j neigh show
    printf ',"rules":'; json ip -4 -j rule
    printf ',"kernel":[%s]' "$(inside sh -c "grep -H . $KERNEL" 2>/dev/null | lines)"
    printf ',"sockets":[%s]' "$(inside ss -Hlntu --sctp 2>/dev/null | lines)"
    printf ',"ip_tables_names":[%s]' "$(inside cat /proc/self/net/ip_tables_names 2>/dev/null | lines)"
    printf ',"nft":[%s]}' "$(inside sh -c "$NFT" 2>/dev/null | lines)"
  ) || exit 1
  printf '%s\n' "$one"
  last=$id
done
