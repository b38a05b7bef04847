# shellcheck shell=sh
# What is in the network namespace of process $pid, to follow other members of an object.
# shellcheck disable=SC2154 # pid is of those who call enter
json() { out=$(nsenter -t "$pid" -n "$@") || exit 1; printf '%s' "${out:-[]}"; }
enter() {
  printf ',"network":{"links":'; json ip -j -d link show
  printf ',"addresses":'; json ip -4 -j addr show
  printf ',"routes":'; json ip -4 -j -d route show table all
  printf ',"neighbours":'; json ip -4 -j neigh show
  printf '}'
}
