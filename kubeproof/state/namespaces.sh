# shellcheck shell=sh
# A line of JSON for each network namespace but the host's own that a process is in, and what is in that.
own=$(stat -L -c %i /proc/self/ns/net) || exit 1
inside() { nsenter --net="$path" "$@"; }
json() { out=$(inside "$@") || exit 1; printf '%s' "${out:-[]}"; }
lines() { sed 's/\\/\\\\/g; s/"/\\"/g; s/.*/"&"/' | paste -s -d , -; }
stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null | sort -u -k 1,1 | while read -r id path; do
  [ "$id" != "$own" ] || continue
  one=$(
    printf '{"id":%s,"links":' "$id"; json ip -j -d link show
    printf ',"addresses":'; json ip -4 -j addr show
    printf ',"routes":'; json ip -4 -j -d route show table all
    printf ',"neighbours":'; json ip -4 -j neigh show
    printf ',"rules":'; json ip -4 -j rule
    printf ',"kernel":[%s]' "$(inside sh -c "grep -H . $KERNEL" 2>/dev/null | lines)"
    printf ',"sockets":[%s]' "$(inside ss -Hlntu --sctp 2>/dev/null | lines)"
    printf ',"ip_tables_names":[%s]' "$(cat "${path%ns/net}net/ip_tables_names" 2>/dev/null | lines)"
    nft=$(inside nft -j list ruleset 2>/dev/null); printf ',"nft":%s}' "${nft:-null}"
  ) || { [ -e "$path" ] || continue; exit 1; }
  printf '%s\n' "$one"
done
