# shellcheck shell=sh
# Runtimes ask the same two things (runc, libcontainer/apparmor). A host that has no package lists yet gets them.
if grep -q Y /sys/module/apparmor/parameters/enabled && [ -e /sys/kernel/security/apparmor ]; then
  if [ -x /sbin/apparmor_parser ] || [ -x /usr/sbin/apparmor_parser ]; then echo ready
  elif ! command -v apt-cache >/dev/null; then echo missing
  elif ! ls /var/lib/apt/lists/*_Packages* >/dev/null || apt-cache show apparmor | grep -q .; then echo installable
  else echo missing; fi
fi
