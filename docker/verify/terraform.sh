#!/usr/bin/env bash
# Prove docker/terraform without an account: format, validate, its tests, then apply, an empty
# second plan and a clean destroy against moto's stand-in for AWS, and checkov.
# Exit codes: 0 everything was proven; 1 something is wrong; 3 nothing is known to be wrong, but a
# tool is absent and so not everything was proven: a green run never means "not tried".
# Run by `just verify-terraform`.
#   docker/verify/terraform.sh            everything (several minutes)
#   docker/verify/terraform.sh quick      without apply and checkov
set -euo pipefail
cd "$(dirname "$0")/../terraform"

NOT_PROVEN=3
command -v terraform >/dev/null || { echo "not proven: terraform is not installed"; exit "$NOT_PROVEN"; }
work=$(mktemp -d)
stand_in=
finish() {
  [ -z "$stand_in" ] || kill "$stand_in" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# A folder of providers on this machine serves as mirror; otherwise Terraform fetches the provider.
mirror=${TF_MIRROR:-$(find /opt /usr/share /usr/local/share "$HOME" -maxdepth 5 -type d -path '*/hashicorp/aws' 2>/dev/null | head -1)}
if [ -n "$mirror" ]; then
  mirror=$(dirname "$(dirname "$(dirname "$mirror")")")
  printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\n' "$mirror" >"$work/terraformrc"
  export TF_CLI_CONFIG_FILE=$work/terraformrc
fi
export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
cp -r ./*.tf tests "$work"

terraform fmt -check -recursive . >/dev/null || { echo "failed: terraform fmt -recursive docker/terraform"; exit 1; }
terraform -chdir="$work" init -input=false -no-color >"$work/init.log" 2>&1 || {
  echo "not proven: the AWS provider cannot be had here ($(grep -m1 -i error "$work/init.log"))"
  exit "$NOT_PROVEN"
}
terraform -chdir="$work" validate -no-color
terraform -chdir="$work" test -no-color
[ "${1:-}" != quick ] || exit 0

missing=
if command -v checkov >/dev/null; then
  checkov --directory . --framework terraform --compact --quiet --skip-download
  echo "checkov: no finding that is not explained"
else
  echo "not proven: checkov's rules, for which checkov is not installed"
  missing=checkov
fi

python3 -c 'import moto.server' 2>/dev/null || { echo "not proven: apply, for which moto[server] is not installed"; exit "$NOT_PROVEN"; }
export AWS_ACCESS_KEY_ID=stand-in AWS_SECRET_ACCESS_KEY=stand-in
unset AWS_PROFILE AWS_SESSION_TOKEN
: >"$work/address"
python3 ../verify/aws_stand_in.py eu-central-1 >"$work/address" 2>"$work/stand-in.log" &
stand_in=$!
until [ "$(wc -l <"$work/address")" -ge 2 ]; do
  kill -0 "$stand_in" 2>/dev/null || { cat "$work/stand-in.log"; exit 1; }
  sleep 0.2
done
AWS_ENDPOINT_URL=$(sed -n 1p "$work/address")
TF_VAR_certificate_arn=$(sed -n 2p "$work/address")
export AWS_ENDPOINT_URL TF_VAR_certificate_arn TF_VAR_image_tag=1.2.3 TF_VAR_mlflow_image_tag=1.2.3 TF_VAR_protect=false
cat >"$work/stand_in_override.tf" <<'OVERRIDE'
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
}
OVERRIDE

draw() {
  TF_VAR_database_password=$(openssl rand -hex 24)
  TF_VAR_feedback_key=$(openssl rand -hex 32)
  export TF_VAR_database_password TF_VAR_feedback_key
}
draw
terraform -chdir="$work" apply -auto-approve -input=false -no-color >"$work/apply.log" 2>&1 ||
  { grep -A12 '^Error' "$work/apply.log"; exit 1; }
tail -40 "$work/apply.log" | grep '^Apply complete'
# The secrets are written once and are in no state.
if grep -qE '"(password|secret_string)(_wo)?": "[^"]+"' "$work/terraform.tfstate"; then
  echo "failed: a secret is in the state"
  exit 1
fi
terraform -chdir="$work" show -json | python3 ../verify/aws_rights.py
# Newly drawn secrets are no difference. 0: nothing to do; 2 would be a difference.
draw
terraform -chdir="$work" plan -detailed-exitcode -input=false -no-color >"$work/plan.log" 2>&1 || { cat "$work/plan.log"; exit 1; }
echo "second plan: empty"
terraform -chdir="$work" destroy -auto-approve -input=false -no-color >"$work/destroy.log" 2>&1 ||
  { grep -A12 '^Error' "$work/destroy.log"; exit 1; }
[ -z "$(terraform -chdir="$work" state list)" ]
grep '^Destroy complete' "$work/destroy.log"
[ -z "$missing" ] || exit "$NOT_PROVEN"
