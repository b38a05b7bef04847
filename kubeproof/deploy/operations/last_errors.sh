# Prints a line for each program that has failed: sh last_errors.sh MARKER SECONDS NOISE UNIT…
# Since the file MARKER was written; the journal has SECONDS to answer, and lines that match NOISE tell nothing.
since=$(stat -c @%Y "$1" 2>/dev/null) || since=-10min
seconds=$2 noise=$3
shift 3
for unit in "$@"; do
    said=$(timeout "$seconds" journalctl --quiet --no-pager --output cat --since "$since" --unit "$unit" |
        grep -E '^[EF][0-9]{4} |level=(error|fatal)|[Ff]ailed|[Ee]rror' | grep -vE "$noise" | tail -n 1)
    [ -z "$said" ] || printf '%s: %s\n' "$unit" "$said"
done
for folder in /var/log/pods/kube-system_*/*; do
    # N.log is of the container's Nth start again.
    # shellcheck disable=SC2012  # kubelet names them
    newest=$(ls -t "$folder" 2>/dev/null | head -n 1)
    case $newest in
    [1-9]*.log)
        last=$(tail -n 1 "$folder/$newest" | sed 's/^{"log":"\(.*\)\\n","stream".*/\1/; s/^[^ ]* std.* [FP] //')
        printf '%s ended and was started again, last: %s\n' "${folder##*/}" "$last" ;;
    esac
done
