# shellcheck shell=sh
echo "hostname=$(uname -n)"
echo "machine_id=$(cat /etc/machine-id)"
echo "product_uuid=$(cat /sys/class/dmi/id/product_uuid)"
echo "container=$(systemd-detect-virt --container | grep -v '^none$')"
