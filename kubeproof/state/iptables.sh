# shellcheck shell=sh
# Before 1.8.8 the save itself does not tell the variant.
version=$(iptables --version) && echo "# $version"
iptables-save
