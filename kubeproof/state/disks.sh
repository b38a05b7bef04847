# shellcheck shell=sh
# A directory that is not there yet will be on the file system of the nearest one above it.
own=$(sed -nE 's/.*"(data-root|graph)"[ \t]*:[ \t]*"([^" ]*)".*/\2/p' "$DOCKER_CONFIG" | tail -n 1)
for path in $DIRECTORIES ${own%/}; do
  there=$path
  while [ ! -e "$there" ]; do there=$(dirname "$there"); done
  echo "$path $(stat --file-system --format '%T %c %d' "$there") $(df -Pk "$there" | tail -n 1)"
done
