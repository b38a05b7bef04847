# shellcheck shell=sh
# Debian's unit reads a file of a variable, Docker's own has all words in it.
started=$(systemctl show --property ExecStart --value docker.service)
printf '%s\n' "$started" | sed -nE 's/.*argv\[\]=[^ ;]* *([^;]*) ;.*/\1/p'
# shellcheck disable=SC1091 # a file of the host
case $started in *DOCKER_OPTS*) (. /etc/default/docker; echo "$DOCKER_OPTS") || true ;; esac
