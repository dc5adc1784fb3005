#!/bin/sh
# Run by the postgres image once, when its volume is new: a database and a user for each of MLflow,
# its accounts, Prefect, and the locks of promotions; none can read another's.
set -eu
for name in mlflow accounts prefect locks; do
  psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set name="$name" --set password="$(cat "/run/secrets/${name}_password")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
