# Unmounts all below its arguments or fails.
for directory; do
    # Deepest first. /proc/mounts writes spaces as \040, which %b reads.
    awk '{print $2}' /proc/mounts | sort -r | while read -r escaped; do
        target=$(printf %b "$escaped")
        case $target in "$directory"/*) umount --lazy "$target" || exit 1 ;; esac
    done
done
