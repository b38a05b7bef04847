# shellcheck shell=sh
# A line of JSON for each table of nftables but those that begin, as "FAMILY NAME", with the regular expression $LEFT_OUT.
# Never all at once: nft 1.0.6 breaks off where it is to print a table with `flags owner` as JSON.
command -v nft >/dev/null || exit 0
tables=$(nft list tables) || exit 1
printf '%s\n' "$tables" | grep -vE "^table ($LEFT_OUT)" | while read -r _ family name _; do
  [ -n "$name" ] || continue
  nft -j list table "$family" "$name" && continue
  # It may have been deleted meanwhile.
  ! nft list table "$family" "$name" >/dev/null 2>&1 || exit 1
done
