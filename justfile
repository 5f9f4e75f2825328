# Daily recipes. `uv run just RECIPE` works without installing just.
set positional-arguments := true

# list the recipes
help:
    @just --list --unsorted

# install everything, tests and optional extras included
install:
    uv sync --all-groups --compile-bytecode

# a first look: 5,000 reviews, seconds
train *overrides:
    uv run sentiment train experiment=quick "$@"

# the default training: all embedded reviews
train-full *overrides:
    uv run sentiment train "$@"

# try several configs: just sweep vectorizer.max_features=5000,10000
sweep *overrides:
    uv run sentiment sweep -m "$@"

# serve the champion (else the newest model) on port 8000
api *options:
    uv run sentiment serve "$@"

# runs side by side, with a paired test on the same rows
compare *options:
    uv run sentiment compare "$@"

# make the newest model champion if it passes the gate
promote *options:
    uv run sentiment register --promote "$@"

# back to the champion before
rollback:
    uv run sentiment models rollback

# what was champion, and when
history:
    uv run sentiment models history

# open the tracked runs on port 5000
mlflow:
    uv run mlflow ui --port 5000 --backend-store-uri "${MLFLOW_TRACKING_URI:-sqlite:///outputs/mlflow.db}"

# Prometheus and Alertmanager on this machine, against a running `sentiment serve`
monitor *target:
    monitoring/run-local.sh "$@"

# the documentation, built into outputs/docs and served at http://127.0.0.1:8001
docs *options:
    uv run --group docs mkdocs build --quiet --strict --config-file .github/docs/mkdocs.yml
    uv run --group docs mkdocs serve --config-file .github/docs/mkdocs.yml --dev-addr 127.0.0.1:8001 "$@"

# run the tests (just test tests/test_data.py)
test *options:
    uv run pytest "$@"

# format, lint, types and import rules
lint:
    uv run --group checks ruff format --check .
    uv run --group checks ruff check .
    uv run --group checks mypy
    uv run --group checks lint-imports

# every figure of the README, beside its peer (a quarter of an hour a round, on a quiet machine):
# just bench --json new.json; just bench --compare old.json new.json; just bench --readme new.json
bench *options: install
    uv run --with fasttext --with vowpalwabbit python tests/benchmarks/bench.py "$@"

# instructions of a text and of a request, beside those that are kept (valgrind)
bench-instructions *options: install
    uv run python tests/benchmarks/count_instructions.py "$@"

# requests per second beside `mlflow models serve`
bench-serve *options: install
    uv run python tests/benchmarks/bench_serve.py "$@"

# what drift and feedback cost a request
bench-monitoring *options:
    uv run python tests/benchmarks/bench_monitoring.py "$@"

# accuracy of models and views by cross-validation (minutes to hours)
bench-accuracy *options:
    uv run python tests/benchmarks/bench_accuracy.py "$@"

# all checks as the server runs them
ci:
    bash .ci/run

# remove caches and builds; runs and models in outputs/ stay
clean:
    rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
    find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# build both images: sentiment-serve and sentiment-train
docker-build:
    DOCKER_BUILDKIT=1 docker build -f docker/Dockerfile --target serve -t sentiment-serve .
    DOCKER_BUILDKIT=1 docker build -f docker/Dockerfile --target train -t sentiment-train .

# start the stack: api 8000, MLflow 5000, Prometheus 9090, Alertmanager 9093, Grafana 3000
docker-up *options:
    docker/secrets.sh
    docker compose -f docker/compose.yaml up -d --wait "$@"

# one replica after the other, behind their proxy: no request is refused (docker/replicas.env)
docker-upgrade:
    docker/secrets.sh
    for replica in api api-b; do \
      docker compose -f docker/compose.yaml --env-file docker/.env --env-file docker/replicas.env \
        up -d --wait --no-deps "$replica" || exit 1; \
    done

# train in the stack, register and promote: just docker-train data=files data.train=/data/input/labels.csv
docker-train *overrides:
    docker compose -f docker/compose.yaml run --rm train "$@"

# what the schedule does, once and now, on SENTIMENT_TRAIN_ARGS and what users corrected
docker-retrain *overrides:
    docker compose -f docker/compose.yaml run --rm --entrypoint sentiment retrain retrain "$@"

# follow the stack's logs: just docker-logs api
docker-logs *services:
    docker compose -f docker/compose.yaml logs -f --tail 100 "$@"

# stop the stack; models, runs and metrics stay in its volumes
docker-down *options:
    docker compose -f docker/compose.yaml --profile train --profile schedule --profile replicas --profile storage down "$@"

# prove images and stack on a real Docker engine: just verify-docker image
verify-docker *proofs:
    docker/verify/docker.sh "$@"

# check the rendered manifests against Kubernetes' schemas
verify-kubernetes:
    uv run --no-project --with kubernetes-validate docker/verify/kubernetes.sh

# test Terraform, apply and destroy it on a stand-in for AWS, and run checkov
verify-terraform *options:
    uv run --no-project --with 'moto[server]' --with checkov docker/verify/terraform.sh "$@"

# write the images' hashed lock files after a change of dependencies
docker-lock *options:
    docker/lock.sh "$@"
