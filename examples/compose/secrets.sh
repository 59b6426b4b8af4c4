#!/bin/sh
# Makes the secrets of docker-compose.yml: random, each in a file in secrets/. It leaves those alone that exist.
set -eu

cd "${1:-$(dirname "$0")/../..}"
# The directory keeps other users of this machine out. The files have to be readable by the users of the containers.
mkdir -p -m 0700 secrets
umask 022
for name in postgres_password s3_secret_key grafana_password; do
    if [ ! -e "secrets/$name" ]; then
        od -An -tx1 -N24 /dev/urandom | tr -d ' \n' >"secrets/$name"
    fi
done
printf 'postgresql://tusd:%s@postgres:5432/tusd' "$(cat secrets/postgres_password)" >secrets/records_url
