# shellcheck shell=sh
# Rules of the variant that iptables is not. Nothing is asked of a variant that has no tables, which would make them:
# the kernel lists those of legacy, where they stay for as long as the host runs, and nft those of nf_tables, which have
# legacy's names.
unreadable() { for table in $1; do echo "# Table \`$table' is incompatible, nothing is installed to read it"; done; }
if iptables --version | grep -q nf_tables; then
  names=$(cat /proc/net/ip_tables_names)
  if [ -z "$names" ]; then :
  elif command -v iptables-legacy-save >/dev/null; then echo '# iptables v1.8 (legacy)'; iptables-legacy-save
  else unreadable "$names"; fi
else
  names=unknown
  ! command -v nft >/dev/null || names=$(nft list tables ip | awk '$3 ~ /^(raw|mangle|nat|filter|security)$/ {print $3}')
  if [ -z "$names" ]; then :
  elif command -v iptables-nft-save >/dev/null; then echo '# iptables v1.8 (nf_tables)'; iptables-nft-save
  elif [ "$names" != unknown ]; then unreadable "$names"; fi
fi
