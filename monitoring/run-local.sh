#!/usr/bin/env bash
# Start Prometheus and Alertmanager on this machine against a running `sentiment serve`, with the
# files of this folder. Ctrl-C ends both. Nothing is installed and nothing leaves the machine.
#
#   monitoring/run-local.sh [host:port of the service, 127.0.0.1:8000]
#
# PROMETHEUS_PORT (9090), ALERTMANAGER_PORT (9093), ALERT_LOG_PORT (9099) and MONITORING_DATA
# (outputs/monitoring) change where things are.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
target="${1:-127.0.0.1:8000}"
port="${PROMETHEUS_PORT:-9090}"
manager_port="${ALERTMANAGER_PORT:-9093}"
data="${MONITORING_DATA:-$here/../outputs/monitoring}"

# Debian calls it prometheus-alertmanager, everybody else alertmanager.
prometheus="$(command -v prometheus || true)"
alertmanager="$(command -v alertmanager || command -v prometheus-alertmanager || true)"
if [ -z "$prometheus" ] || [ -z "$alertmanager" ]; then
  cat >&2 <<'EOF'
Prometheus or Alertmanager is not installed. Get them by one of
  Debian, Ubuntu:  sudo apt-get install --no-install-recommends prometheus prometheus-alertmanager
  macOS:           brew install prometheus alertmanager
  anywhere:        https://prometheus.io/download/
or start everything, Grafana included, with Docker: docker compose -f docker/compose.yaml up
EOF
  exit 2
fi

mkdir -p "$data/rules"
cp "$here"/prometheus/rules/*.yml "$data/rules/"
# Without a Pushgateway here: a retraining on this machine says how it went in its own terminal.
sed -e "/What jobs that end/,/pushgateway:9091/d" -e "s/api:8000/$target/" -e "s/alertmanager:9093/127.0.0.1:$manager_port/" \
  -e "s/localhost:9090/127.0.0.1:$port/" "$here/prometheus/prometheus.yml" >"$data/prometheus.yml"

pids=()
stop() {
  trap - EXIT INT TERM
  kill "${pids[@]}" 2>/dev/null || true
  wait
}
trap stop EXIT INT TERM

# Alerts go to this terminal.
receiver="${ALERT_LOG_PORT:-9099}"
sed -e "s/alerts:9099/127.0.0.1:$receiver/" "$here/alertmanager/alertmanager.yml" >"$data/alertmanager.yml"
python3 -IS "$here/alertmanager/log.py" 127.0.0.1 "$receiver" &
pids+=($!)
"$prometheus" --config.file="$data/prometheus.yml" --storage.tsdb.path="$data/prometheus" \
  --web.listen-address="127.0.0.1:$port" --log.level=warn &
pids+=($!)
"$alertmanager" --config.file="$data/alertmanager.yml" \
  --storage.path="$data/alertmanager" --web.listen-address="127.0.0.1:$manager_port" \
  --cluster.listen-address= --log.level=warn &
pids+=($!)

echo "Prometheus    http://127.0.0.1:$port (alerts: /alerts; what is scraped: /targets)"
echo "Alertmanager  http://127.0.0.1:$manager_port (alerts are printed here; $here/alertmanager/alertmanager.yml names other places)"
if command -v curl >/dev/null && ! curl --silent --fail --output /dev/null "http://$target/health"; then
  echo "No service answers at $target yet: start one with 'sentiment serve'." >&2
fi
echo "Ctrl-C ends both."
# Whichever ends first ends the other.
wait -n
