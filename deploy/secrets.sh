#!/bin/sh
# Make the secrets of docker-compose.yml, a file each: sh deploy/secrets.sh [FOLDER]
# What is there stays, so that a later version of this script adds only what is new. The folder is for
# its owner only; the files in it can be read by the containers' users, who see no folder around them.
# HOST_* say where the parts are, if not where docker-compose.yml puts them (deploy/README.md).
set -eu
folder=${1:-secrets}
umask 077
mkdir -p "$folder"
# Letters and digits only, because they become part of URLs.
secret() { LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c 40; }
write() {
  if [ ! -s "$folder/$1" ]; then
    cat > "$folder/.$1"
    chmod 444 "$folder/.$1"
    mv "$folder/.$1" "$folder/$1"
  fi
}
make() { secret | write "$1"; }
value() { cat "$folder/$1"; }
database=${HOST_DATABASE:-postgres:5432}

for name in postgres mlflow accounts prefect locks; do make "${name}_password"; done
printf 'postgresql+psycopg://mlflow:%s@%s/mlflow' "$(value mlflow_password)" "$database" | write mlflow_store
printf 'postgresql+asyncpg://prefect:%s@%s/prefect' "$(value prefect_password)" "$database" | write prefect_store
printf 'postgresql+psycopg://locks:%s@%s/locks' "$(value locks_password)" "$database" | write locks_store

# Accounts of MLflow: the admin's, whom pipelines are, and the service's, which reads.
make mlflow_admin
make mlflow_reader
make mlflow_session_key
printf '[mlflow]\ndefault_permission = READ\ndatabase_uri = postgresql+psycopg://accounts:%s@%s/accounts\nadmin_username = gatecast\nadmin_password = %s\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\nauth_cache_ttl_seconds = 60\n' \
  "$(value accounts_password)" "$database" "$(value mlflow_admin)" | write mlflow_auth

# MLflow encrypts what its webhooks sign with; a Fernet key is 32 bytes in URL-safe base64.
head -c 32 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_' | write mlflow_webhook_key
make hook_secret

make store_access
make store_secret
printf '{"identities": [{"name": "gatecast", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}\n' \
  "$(value store_access)" "$(value store_secret)" | write store_identities

make prefect_user_password
printf 'gatecast:%s' "$(value prefect_user_password)" | write prefect_auth
make api_key
make grafana_password
# Where Alertmanager posts; the placeholder is refused at once, which its log says.
printf '%s' "${ALERT_URL:-http://127.0.0.1:9/}" | write alert_url
echo "$folder: $(find "$folder" -type f | wc -l) secrets"
