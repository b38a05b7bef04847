# shellcheck shell=sh
# kubelet's health port answers within WITHIN seconds, and is open on the node itself only (kubelet, healthzPort).
command -v curl >/dev/null || { echo 'curl is not installed' >&2; exit 127; }
echo "state=$(systemctl is-active kubelet)"
echo "health=$(curl --silent --noproxy '*' --max-time "$WITHIN" http://127.0.0.1:10248/healthz | head -n 1)"
