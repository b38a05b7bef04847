# shellcheck shell=sh
# Each of PARTS (name=URL) answers its own host within WITHIN seconds, without being told who asks; a slow disk alone
# makes etcd late once.
# Workers have no admin.conf.
test -e "$ADMIN_CONF" || exit 0
get() { curl --silent --show-error --insecure --noproxy '*' --max-time "$2" "$1" 2>&1 | sed 's/^curl: //' | head -n 1; }
ask() {
  said=$(get "$2" "$WITHIN")
  case "$said" in ok* | *true*) ;; *) said=$(get "$2" 2) ;; esac
  printf '%s=%s\n' "$1" "$said"
}
for part in $PARTS; do ask "${part%%=*}" "${part#*=}" & done
wait
