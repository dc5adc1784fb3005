#!/bin/sh
# Starts a command with its secrets: for every variable NAME_FILE that names a file below /run/secrets
# the command gets NAME, with what stands in that file. So no secret stands in a compose file, in a
# manifest, or in what `docker inspect` shows. SECRETS names another folder.
set -eu
folder=${SECRETS:-/run/secrets}
for name in $(env | sed -n 's/^\([A-Z][A-Z0-9_]*\)_FILE=.*/\1/p'); do
  eval "file=\${${name}_FILE}"
  case $file in
    "$folder"/*) ;;
    *) continue ;; # a file that its program reads by itself
  esac
  if [ ! -r "$file" ]; then
    echo "entrypoint: ${name}_FILE names $file, which cannot be read: run deploy/secrets.sh" >&2
    exit 2
  fi
  value=$(cat "$file")
  export "$name=$value"
  unset "${name}_FILE"
done
exec "$@"
