# shellcheck shell=sh
# sysctl(8) fails as a whole for a name that the kernel does not have, which is what is to be found out.
for name in $NAMES; do
  file=/proc/sys/$(echo "$name" | tr . /)
  if [ -e "$file" ]; then value=$(cat "$file") || exit 1; echo "$name = $value"; fi
done
