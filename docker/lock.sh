#!/usr/bin/env bash
# Write the hashed lock files from pyproject.toml: what the images install, on every platform.
# Run it after a change of dependencies; `docker/lock.sh --upgrade` also takes newer versions.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {
  local file=docker/requirements-$1.lock
  shift
  # Without index host and annotations: the file says what, the installer's settings say from where.
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate \
    --custom-compile-command docker/lock.sh --output-file "$file" "$@" >/dev/null
}

lock train pyproject.toml --extra optuna --extra postgres --extra s3 --extra auth "$@"
# One version of each package in both images: the larger lock constrains the smaller one.
lock serve --group pyproject.toml:serve --constraint docker/requirements-train.lock "$@"
# What turns the sources into a wheel is locked too.
python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
  lock build - "$@"
