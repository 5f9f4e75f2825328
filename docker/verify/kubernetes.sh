#!/usr/bin/env bash
# Prove docker/kubernetes without a cluster: render each overlay with kubectl's kustomize and check it
# against Kubernetes' own schemas. That selectors, ports, probe paths and variables fit together and fit the
# application is tests/test_deploy.py. Run by `just verify-kubernetes`.
set -euo pipefail
cd "$(dirname "$0")/../kubernetes"

# Exit codes as in terraform.sh: 3 when a tool is absent and nothing was proven.
command -v kubectl >/dev/null || { echo "not proven: kubectl is not installed"; exit 3; }
command -v kubernetes-validate >/dev/null || { echo "not proven: kubernetes-validate is not installed (pip install kubernetes-validate)"; exit 3; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The least version that base/kustomization.yaml names, and the newest whose schemas are known here.
least=$(sed -n 's/.*Kubernetes \([0-9.]*\) or newer.*/\1/p' base/kustomization.yaml)
newest=${KUBERNETES_VERSION:-1.37}
for overlay in overlays/* kserve; do
  rendered=$work/$(basename "$overlay").yaml
  kubectl kustomize "$overlay" >"$rendered"
  for version in "$least" "$newest"; do
    kubernetes-validate --kubernetes-version "$version" --strict "$rendered" >"$work/log" 2>&1 ||
      { cat "$work/log"; exit 1; }
  done
  echo "$overlay: Kubernetes $least and $newest: $(grep -c '^kind:' "$rendered") resources, $(grep -c ' passed ' "$work/log") valid;" \
    "without a schema here: $(sed -n 's/.*schema for kind \([A-Za-z]*\).*/\1/p' "$work/log" | paste -sd' ')"
done
