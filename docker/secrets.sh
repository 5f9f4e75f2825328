#!/usr/bin/env bash
# Draw the stack's secrets into docker/.env, once; values that are there already stay.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
touch .env
for name in GRAFANA_ADMIN_PASSWORD MLFLOW_ADMIN_PASSWORD MLFLOW_SECRET_KEY SENTIMENT_FEEDBACK_KEY \
  POSTGRES_PASSWORD S3_SECRET_KEY; do
  grep -q "^$name=" .env || echo "$name=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >>.env
done
