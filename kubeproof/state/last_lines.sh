# shellcheck shell=sh
# The last line of the newest log of each container in NAMESPACES; kubelet keeps them.
for namespace in $NAMESPACES; do
  for folder in /var/log/pods/"$namespace"_*/*/; do
    # shellcheck disable=SC2012 # kubelet's names are numbers
    newest=$(ls -t "$folder" | head -n 1); [ "$newest" ] || continue
    line=$(tail -n 1 "$folder$newest" | cut -c 1-600); name=${folder%/}
    printf '%s=%s\n' "${name##*/}" "$line"
  done
done
