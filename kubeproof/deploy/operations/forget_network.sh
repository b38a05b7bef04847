# Removes files and links: sh forget_network.sh FILE… -- LINK…, whose names may be patterns.
while [ "$1" != -- ]; do
    rm -f "$1"
    shift
done
shift
for pattern; do
    for link in /sys/class/net/$pattern; do
        [ ! -e "$link" ] || ip link delete dev "${link##*/}"
    done
done
