# shellcheck shell=sh
# The cgroup driver of pods without a RuntimeClass: of the default runtime of the several that containerd may know. Its
# tables have different names in versions 1 to 3 of its configuration; its two ways to quote are left out, and so is what
# is blank. runc does not use systemd unless it is told to; of other programs nobody knows.
containerd config dump | awk '
{ gsub(/["\047\r]/, ""); line = $0; gsub(/[ \t]/, "", line); sub(/#.*/, "", line) }
line ~ /^\[/ { table = line; gsub(/[][]/, "", table); next }
line ~ /^default_runtime_name=/ && table ~ /containerd$/ { sub(/.*=/, "", line); used = line; next }
table !~ /[.]containerd[.]runtimes[.]/ { next }
{ name = table; sub(/.*[.]containerd[.]runtimes[.]/, "", name) }
line ~ /^runtime_type=/ && name !~ /[.]/ { type[name] = line }
line ~ /^SystemdCgroup=/ && sub(/[.]options$/, "", name) { driver[name] = line ~ /true/ ? "systemd" : "cgroupfs" }
END {
    if (used == "") used = "runc"
    print ((used in driver) ? driver[used] : (type[used] ~ /runc[.]v[12]$/ ? "cgroupfs" : ""))
}'
