#!/bin/sh
# Print new secrets for docker-compose.yml, as the lines of an .env file:
#   (umask 077; sh deploy/secrets.sh > .env)
# Letters and digits only, because they become part of URLs.
set -eu
secret() { LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 40; }
for name in POSTGRES_PASSWORD PREFECT_PASSWORD GATECAST_API_KEY; do
  printf '%s=%s\n' "$name" "$(secret)"
done
