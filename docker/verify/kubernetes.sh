#!/usr/bin/env bash
# Prove docker/kubernetes without a cluster: render each overlay with kubectl's kustomize and check it
# against Kubernetes' own schemas. That selectors, ports, probe paths and variables fit together and fit the
# application is tests/test_deploy.py. Run by `just verify-kubernetes`.
set -euo pipefail
cd "$(dirname "$0")/../kubernetes"

command -v kubectl >/dev/null || { echo "skipped: kubectl is not installed"; exit 0; }
command -v kubernetes-validate >/dev/null || { echo "skipped: kubernetes-validate is not installed (pip install kubernetes-validate)"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for overlay in overlays/*; do
  rendered=$work/$(basename "$overlay").yaml
  kubectl kustomize "$overlay" >"$rendered"
  kubernetes-validate --kubernetes-version "${KUBERNETES_VERSION:-1.34}" --strict "$rendered" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
  echo "$overlay: $(grep -c '^kind:' "$rendered") resources, $(grep -c ' passed ' "$work/log") valid;" \
    "without a schema here: $(sed -n 's/.*schema for kind \([A-Za-z]*\).*/\1/p' "$work/log" | paste -sd' ')"
done
