"""The files under docker/ against the application that they deploy; no daemon, no network."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
pytestmark = pytest.mark.skipif(not DOCKER.is_dir(), reason="not a checkout")

# Read by the command line or by libraries, not by serve.settings.
OTHER_VARIABLES = {
    *("SENTIMENT_OUTPUT_DIR", "MLFLOW_TRACKING_URI"),
    *("SENTIMENT_TRAIN_ARGS", "SENTIMENT_FEEDBACK_URL", "SENTIMENT_PUSHGATEWAY_URL"),
}
MOUNTED = {"/data", "/tmp"}
NOT_PROVEN = 3


def run(*words, cwd=ROOT, **options):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def need(tool):
    found = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """The paths that the application answers to."""
    from serve.app import create_app
    from serve.model import ModelHolder
    from serve.settings import Settings

    outputs = tmp_path_factory.mktemp("outputs")
    app = create_app(ModelHolder(outputs), CollectorRegistry(), Settings(output_dir=outputs))
    return set(app.openapi()["paths"])


@pytest.fixture(scope="module")
def variables():
    """Every variable that the service's settings know."""
    from serve.settings import Settings

    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = getattr(alias, "choices", [alias] if alias else [f"SENTIMENT_{name}"])
        names |= {str(choice).upper() for choice in choices}
    return names | {"SENTIMENT_FEEDBACK_KEY"}


# ---- what the images hold ----
def test_serve_group_is_a_part_of_the_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    bound = project["project"]["dependencies"] + extras["postgres"]
    known = {Requirement(words).name for words in bound}
    for requirement in map(Requirement, project["dependency-groups"]["serve"]):
        assert requirement.name in known
        assert not requirement.specifier, "bounds stand with the dependencies, once"


@pytest.mark.parametrize("image", ["serve", "train", "build"])
def test_locks_satisfy_pyproject(image):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    served = {Requirement(words).name for words in project["dependency-groups"]["serve"]}
    wanted = {
        "serve": [
            words
            for words in project["project"]["dependencies"] + extras["postgres"]
            if Requirement(words).name in served
        ],
        "train": project["project"]["dependencies"]
        + extras["postgres"]
        + extras["s3"]
        + extras["auth"],
        "build": project["build-system"]["requires"],
    }[image]
    text = (DOCKER / f"requirements-{image}.lock").read_text()
    pins = [
        Requirement(line.split(" \\")[0]) for line in text.splitlines() if re.match(r"\w", line)
    ]
    assert "://" not in text, "a lock names a host"
    assert text.count("--hash=sha256:") >= len(pins)
    for requirement in map(Requirement, wanted):
        versions = [
            next(iter(pin.specifier)).version
            for pin in pins
            if pin.name == requirement.name.lower()
        ]
        assert versions, f"{requirement} is not locked: run docker/lock.sh"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_both_images_have_one_version_of_each_package():
    locks = [
        {line.split(" ")[0] for line in (DOCKER / name).read_text().splitlines() if "==" in line}
        for name in ("requirements-serve.lock", "requirements-train.lock")
    ]
    assert locks[0] <= locks[1]


def test_context_lets_through_what_the_dockerfile_copies():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DOCKER / "Dockerfile").read_text(), re.M):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(pattern) for pattern in let_through), source


def test_dockerfile_is_clean():
    hadolint = need("hadolint")
    run(hadolint, "docker/Dockerfile", "docker/verify/stand-ins/Dockerfile")


# ---- Compose ----
@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_compose_is_whole(compose):
    services = compose["services"]
    assert services["api"]["container_name"] == "sentiment-api"
    for name, service in services.items():
        # A variable's default, and the default of that.
        image = re.sub(r"^(\$\{\w+:-)+([^}]+)\}+$", r"\2", service["image"])
        own = image in ("sentiment-serve", "sentiment-train")
        assert own or re.search(r":v?\d+\.\d+", image), f"{name}: {image} has no version"
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service.get("volumes", ()):
            source = re.sub(r"^\$\{\w+:-([^}]+)\}", r"\1", volume).split(":")[0]
            known = (
                (DOCKER / source).exists()
                if source.startswith(".")
                else source in compose["volumes"]
            )
            assert known, f"{name}: {source}"
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        assert "memory" in limits or name == "bucket", name


def test_compose_secrets_are_drawn_once(compose, tmp_path):
    (tmp_path / "secrets.sh").write_text((DOCKER / "secrets.sh").read_text())
    run("bash", str(tmp_path / "secrets.sh"))
    drawn = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())
    assert all(len(value) == 48 for value in drawn.values())
    assert len(set(drawn.values())) == len(drawn)
    demanded = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    assert demanded
    assert demanded <= set(drawn)
    run("bash", str(tmp_path / "secrets.sh"))
    assert dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines()) == drawn


def test_nobody_opens_mlflow_or_grafana_without_a_password(compose):
    services = compose["services"]
    assert "--app-name=basic-auth" in services["mlflow"]["command"]
    asked = services["mlflow"]["environment"]["MLFLOW_AUTH_ADMIN_PASSWORD"]
    for name in ("model-sync", "train", "retrain"):
        assert services[name]["environment"]["MLFLOW_TRACKING_PASSWORD"] == asked
    assert "GF_SECURITY_ADMIN_PASSWORD" in services["grafana"]["environment"]


def test_compose_trains_on_files_and_hears_what_users_corrected(compose):
    services = compose["services"]
    for name in ("train", "retrain"):
        assert "${SENTIMENT_DATA:-data}:/data/input:ro" in services[name]["volumes"]
    retrain = services["retrain"]
    assert "sentiment retrain" in retrain["entrypoint"][-1]
    assert set(retrain["environment"]) >= {"SENTIMENT_TRAIN_ARGS", "SENTIMENT_FEEDBACK_URL"}
    # Without a database of its own, feedback lies in the api's volume.
    (shared,) = [volume for volume in services["api"]["volumes"] if volume.endswith(":/data")]
    assert shared in retrain["volumes"]
    gateway = retrain["environment"]["SENTIMENT_PUSHGATEWAY_URL"]
    name, port = re.fullmatch(r"http://([\w-]+):(\d+)", gateway).groups()
    assert set(services[name]["networks"]) & set(retrain["networks"])
    assert f"{name}:{port}" in (ROOT / "monitoring/prometheus/prometheus.yml").read_text()


@pytest.mark.real
def test_the_schedules_loop_goes_on_after_a_failure_and_stops_when_told(compose, tmp_path):
    """The shell of the service `retrain` itself, with a `sentiment` that fails."""
    ran = tmp_path / "ran"
    command = tmp_path / "sentiment"
    command.write_text(f'#!/bin/sh\necho "$@" >>"{ran}"\nexit 1\n')
    command.chmod(0o755)
    words = [word.replace("$$", "$") for word in compose["services"]["retrain"]["entrypoint"]]
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SENTIMENT_RETRAIN_SECONDS": "0.05"}
    process = subprocess.Popen(words, env=env)
    try:
        end = time.monotonic() + 20
        while not ran.exists() or len(ran.read_text().splitlines()) < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
    assert set(ran.read_text().splitlines()) == {"retrain"}


def test_compose_speaks_the_services_language(compose, variables):
    given = {
        name for name in compose["services"]["api"]["environment"] if name.startswith("SENTIMENT_")
    }
    assert given <= variables | OTHER_VARIABLES
    prometheus = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())
    targets = {
        target
        for job in prometheus["scrape_configs"]
        for config in job["static_configs"]
        for target in config["targets"]
    }
    managers = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    for target in [*targets, *managers]:
        assert target.split(":")[0] in {*compose["services"], "localhost"}, target


# ---- Kubernetes ----
@pytest.fixture(scope="module", params=["dev", "prod", "full"])
def manifests(request):
    kubectl = need("kubectl")
    text = run(kubectl, "kustomize", f"docker/kubernetes/overlays/{request.param}")
    return list(yaml.safe_load_all(text))


def pods(manifests):
    for manifest in manifests:
        spec = manifest.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            yield manifest["metadata"]["name"], template


def containers(template):
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def of_kind(manifests, kind):
    return [manifest for manifest in manifests if manifest["kind"] == kind]


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_are_valid(manifests, version, tmp_path):
    validate = need("kubernetes-validate")
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump_all(manifests))
    run(validate, "--kubernetes-version", version, "--strict", str(rendered))
    if version == "1.30":
        base = (DOCKER / "kubernetes/base/kustomization.yaml").read_text()
        assert f"Kubernetes {version} or newer" in base


def outside(manifests):
    """The path prefixes that callers from outside the cluster reach."""
    for ingress in of_kind(manifests, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            yield from (path["path"] for path in rule["http"]["paths"])
    for route in of_kind(manifests, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            yield from (match["path"]["value"] for match in rule["matches"])


def test_callers_reach_what_they_ask_and_not_what_is_for_the_inside(manifests, paths):
    prefixes = set(outside(manifests))
    if not prefixes:  # the overlay for development has none
        assert not of_kind(manifests, "Ingress")
        return
    for prefix in prefixes:
        assert any(path == prefix or path.startswith(f"{prefix}/") for path in paths), prefix
    reached = {path for path in paths if any(f"{path}/".startswith(f"{p}/") for p in prefixes)}
    assert {"/predict", "/predict/batch", "/health/ready", "/feedback", "/invocations"} <= reached
    inside = {"/", "/metrics", "/docs", "/redoc", "/openapi.json"}
    assert not reached & inside
    assert not prefixes & inside


def test_the_gateway_leads_to_the_service(manifests):
    services = {service["metadata"]["name"]: service for service in of_kind(manifests, "Service")}
    for route in of_kind(manifests, "HTTPRoute"):
        for backend in route["spec"]["rules"][0]["backendRefs"]:
            ports = [port["port"] for port in services[backend["name"]]["spec"]["ports"]]
            assert backend["port"] in ports


def test_the_operators_kinds_are_optional(manifests, request):
    kinds = {manifest["kind"] for manifest in manifests}
    optional = {"ServiceMonitor", "PrometheusRule", "HTTPRoute"}
    if "full" not in request.node.callspec.id:
        assert not kinds & optional
        return
    assert kinds >= optional
    for kind in ("ServiceMonitor", "PrometheusRule"):
        for manifest in of_kind(manifests, kind):
            assert manifest["metadata"]["labels"]["release"]


def test_the_schedule_runs_retrain_on_what_it_is_told(manifests, request):
    (job,) = of_kind(manifests, "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["retrain"]
    named = [source.get("configMapRef", {}).get("name", "") for source in container["envFrom"]]
    (told,) = [
        manifest["data"]
        for manifest in of_kind(manifests, "ConfigMap")
        if manifest["metadata"]["name"] in named
        and manifest["metadata"]["name"].startswith("train-")
    ]
    asked = told["SENTIMENT_TRAIN_ARGS"]
    (policy,) = [
        policy
        for policy in of_kind(manifests, "NetworkPolicy")
        if policy["metadata"]["name"] == "train"
    ]
    ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    gateway = told.get("SENTIMENT_PUSHGATEWAY_URL")
    assert (gateway is not None) == bool(of_kind(manifests, "PrometheusRule"))
    if gateway is not None:
        assert int(gateway.rsplit(":", 1)[1]) in ports
    if "s3://" in asked:
        assert 443 in ports, "the object store cannot be reached"
        assert "train-data" in [s.get("secretRef", {}).get("name") for s in container["envFrom"]]
    if "dev" in request.node.callspec.id:
        assert 443 not in ports


def test_feedback_outlives_its_pod(manifests, request):
    """In production every replica and the training speak to the database that MLflow has."""
    if "dev" in request.node.callspec.id:
        pytest.skip("development keeps feedback on the pod's disk")
    for wanted in ("api", "train"):
        (template,) = [template for name, template in pods(manifests) if name == wanted]
        (container,) = template["spec"]["containers"]
        names = [entry["name"] for entry in container["env"]]
        (url,) = [e["value"] for e in container["env"] if e["name"] == "SENTIMENT_FEEDBACK_URL"]
        for name in re.findall(r"\$\((\w+)\)", url):
            # Kubernetes fills in only what stands before.
            assert names.index(name) < names.index("SENTIMENT_FEEDBACK_URL")
        assert "PASSWORD" not in url
        assert "PGPASSWORD" in names
        (policy,) = [
            policy
            for policy in of_kind(manifests, "NetworkPolicy")
            if policy["metadata"]["name"] == wanted
        ]
        ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert 5432 in ports


def test_a_volume_can_hold_the_data(tmp_path):
    kubectl = need("kubectl")
    folder = tmp_path / "kubernetes"
    shutil.copytree(DOCKER / "kubernetes", folder)
    overlay = folder / "overlays/data"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../dev]\ncomponents: [../../components/data-volume]\n"
    )
    manifests = list(yaml.safe_load_all(run(kubectl, "kustomize", str(overlay))))
    (job,) = of_kind(manifests, "CronJob")
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    claims = {claim["metadata"]["name"] for claim in of_kind(manifests, "PersistentVolumeClaim")}
    (volume,) = [v for v in spec["volumes"] if "persistentVolumeClaim" in v]
    assert volume["persistentVolumeClaim"]["claimName"] in claims
    mounts = {m["mountPath"]: m["name"] for m in spec["containers"][0]["volumeMounts"]}
    assert mounts["/data/input"] == volume["name"]


def test_kserve_asks_what_the_server_answers(paths):
    kubectl = need("kubectl")
    (service,) = yaml.safe_load_all(run(kubectl, "kustomize", "docker/kubernetes/kserve"))
    predictor = service["spec"]["predictor"]
    for container in (*predictor["initContainers"], *predictor["containers"]):
        assert container["image"].endswith(":0.1.0")
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (server,) = predictor["containers"]
    assert {server[f"{key}Probe"]["httpGet"]["path"] for key in ("liveness", "readiness")} <= paths
    assert "/v2/models/{name}/infer" in {re.sub(r"{\w+}", "{name}", path) for path in paths}


def test_every_selector_finds_something(manifests):
    labels = [template["metadata"]["labels"] for _, template in pods(manifests)]

    def found(selector):
        return any(selector.items() <= have.items() for have in labels)

    for service in of_kind(manifests, "Service"):
        assert found(service["spec"]["selector"]), service["metadata"]["name"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        for manifest in of_kind(manifests, kind):
            assert found(manifest["spec"]["selector"]["matchLabels"])
    for policy in of_kind(manifests, "NetworkPolicy"):
        assert found(policy["spec"]["podSelector"].get("matchLabels", {})), policy["metadata"][
            "name"
        ]
    for monitor in of_kind(manifests, "ServiceMonitor"):
        chosen = monitor["spec"]["selector"]["matchLabels"]
        services = of_kind(manifests, "Service")
        assert any(chosen.items() <= service["metadata"]["labels"].items() for service in services)
        name = monitor["spec"]["jobLabel"]
        assert {service["metadata"]["labels"][name] for service in services} == {"sentiment"}
    targets = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "Deployment")}
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in targets


def test_every_named_port_exists(manifests):
    ports = {
        port["name"]
        for _, template in pods(manifests)
        for container in containers(template)
        for port in container.get("ports", ())
    }
    for service in of_kind(manifests, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    services = {service["metadata"]["name"]: service for service in of_kind(manifests, "Service")}
    for ingress in of_kind(manifests, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                names = {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
                assert backend["port"]["name"] in names


def test_every_probe_asks_a_path_of_the_application(manifests, paths):
    (api,) = [template for name, template in pods(manifests) if name == "api"]
    (server,) = api["spec"]["containers"]
    probes = {
        key: server[f"{key}Probe"]["httpGet"]["path"]
        for key in ("startup", "liveness", "readiness")
    }
    assert set(probes.values()) <= paths
    assert probes["readiness"] == "/health/ready"
    assert probes["liveness"] == "/health/live"
    for monitor in of_kind(manifests, "ServiceMonitor"):
        assert monitor["spec"]["endpoints"][0]["path"] in paths


def test_every_variable_is_one_that_the_settings_know(manifests, variables):
    from serve.settings import Settings

    maps = {
        manifest["metadata"]["name"]: manifest["data"]
        for manifest in of_kind(manifests, "ConfigMap")
    }
    for name, template in pods(manifests):
        assert template["spec"]["enableServiceLinks"] is False, "SENTIMENT_PORT=tcp://..."
        for container in containers(template):
            given = {entry["name"] for entry in container.get("env", ())}
            for source in container.get("envFrom", ()):
                if "configMapRef" in source:
                    given |= set(maps[source["configMapRef"]["name"]])
            ours = {variable for variable in given if variable.startswith("SENTIMENT_")}
            assert ours <= variables | OTHER_VARIABLES, (name, container["name"])
    (data,) = [data for key, data in maps.items() if key.startswith("api-")]
    values = {key.removeprefix("SENTIMENT_").lower(): value for key, value in data.items()}
    assert Settings(**values).wait_for_model


def test_grace_period_covers_the_drain(manifests):
    (api,) = [template for name, template in pods(manifests) if name == "api"]
    maps = of_kind(manifests, "ConfigMap")
    (data,) = [item["data"] for item in maps if item["metadata"]["name"].startswith("api-")]
    leaving = api["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = (
        leaving + float(data["SENTIMENT_DRAIN_SECONDS"]) + float(data["SENTIMENT_SHUTDOWN_TIMEOUT"])
    )
    assert api["spec"]["terminationGracePeriodSeconds"] >= needed


def test_pods_are_closed(manifests):
    for name, template in pods(manifests):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for container in containers(template):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"]["drop"] == ["ALL"], name
            assert context["allowPrivilegeEscalation"] is False, name
            assert {mount["mountPath"] for mount in container["volumeMounts"]} == MOUNTED
            assert "memory" in container["resources"]["limits"]


def test_prometheus_rule_is_made_from_the_rule_files():
    path = DOCKER / "kubernetes" / "prometheus_rule.py"
    module = load_script(path)
    assert module.TARGET.read_text() == module.render(), f"run {path.relative_to(ROOT)}"


# ---- AWS ----
@pytest.mark.real
@pytest.mark.slow
def test_terraform_is_valid_and_passes_its_tests():
    need("terraform")
    done = subprocess.run(
        ["bash", "docker/verify/terraform.sh", "quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NOT_PROVEN:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout


@pytest.mark.parametrize(
    ("script", "tool"),
    [("terraform", "terraform"), ("kubernetes", "kubectl"), ("docker", "docker")],
)
def test_a_proof_that_proves_nothing_says_so_by_its_exit_code(script, tool, tmp_path):
    for name in ("bash", "dirname", "id", "mktemp", "rm"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        ["bash", f"docker/verify/{script}.sh"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path), "DOCKER": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == NOT_PROVEN, done.stdout + done.stderr
    assert f"not proven: {tool} is not installed" in done.stdout


def load_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rights_are_found_missing():
    """The judge of policies says no to a scheduler that may not use its key."""
    rights = load_script(DOCKER / "verify/aws_rights.py")

    def state(*statements):
        policy = json.dumps({"Statement": list(statements)})
        resources = {
            "data.aws_caller_identity.current": {"account_id": "123456789012"},
            "aws_kms_key.main": {"arn": "arn:aws:kms:eu:1:key/1", "policy": '{"Statement": []}'},
            "aws_ecs_cluster.main": {"arn": "arn:cluster"},
            "aws_ecs_task_definition.train": {"arn": "arn:task:7"},
            'aws_iam_role_policy.this["scheduler"]': {"policy": policy},
        }
        listed = [{"address": key, "values": value} for key, value in resources.items()]
        return rights.State({"values": {"root_module": {"resources": listed}}})

    key = ("scheduler", "kms:Decrypt", "aws_kms_key.main", {})
    start = (
        "scheduler",
        "ecs:RunTask",
        "aws_ecs_task_definition.train",
        {"ecs:cluster": "aws_ecs_cluster.main"},
    )
    allowed = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:aws:kms:eu:1:key/1"}
    run_task = {
        "Effect": "Allow",
        "Action": ["ecs:RunTask"],
        "Resource": "arn:task:*",
        "Condition": {"ArnEquals": {"ecs:cluster": "arn:cluster"}},
    }
    assert key in rights.NEEDED
    assert start in rights.NEEDED
    assert not state(run_task).allows(key)
    assert state(run_task, allowed).allows(key)
    assert state(run_task).allows(start)
    elsewhere = {**run_task, "Condition": {"ArnEquals": {"ecs:cluster": "arn:other"}}}
    assert not state(elsewhere).allows(start)


def test_terraform_speaks_the_services_language(paths, variables):
    text = (DOCKER / "terraform/ecs.tf").read_text()
    given = set(re.findall(r'name = "(SENTIMENT_\w+)"', text))
    assert given
    assert given <= variables | OTHER_VARIABLES
    balancer = (DOCKER / "terraform/balancer.tf").read_text()
    (path,) = re.findall(r'^\s+path\s+= "(.+)"', balancer, re.M)
    assert path in paths


@pytest.mark.parametrize(("answers", "tries"), [("0", 1), ("1 1 2", 3), ("1 0", 2)])
def test_a_task_waits_for_mlflow_but_not_for_a_champion(answers, tries, tmp_path):
    """The shell of model-pull itself: 1 is an MLflow that does not answer, 2 is no champion."""
    (line,) = re.findall(
        r'"(until sentiment models pull .+)"\]', (DOCKER / "terraform/ecs.tf").read_text()
    )
    (tmp_path / "answers").write_text(answers.replace(" ", "\n") + "\n")
    for name, body in {
        "sentiment": 'code=$(sed -n 1p answers); sed -i 1d answers; echo >>tried; exit "$code"',
        "sleep": "exit 0",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    run("sh", "-c", line, cwd=tmp_path, env=env, timeout=20)
    assert len((tmp_path / "tried").read_text().splitlines()) == tries


# ---- everything ----
def test_workflow_is_valid():
    actionlint = need("actionlint")
    run(actionlint, ".github/workflows/ci.yaml")


def test_workflow_trusts_nothing_that_can_be_moved():
    text = (ROOT / ".github/workflows/ci.yaml").read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v?\d+\.\d+\.\d+", comment), f"{action}: which version?"
    jobs = yaml.safe_load(text)["jobs"]
    for name, job in jobs.items():
        for step in job["steps"]:
            assert "continue-on-error" not in step, name
            assert "|| true" not in step.get("run", ""), name
    tested = "\n".join(step.get("run", "") for step in jobs["check"]["steps"])
    assert "bash .ci/run" in tested
    assert not re.search(r"sudo.* bash", tested), "root hides what nobody else may"


def test_base_image_is_named_by_digest():
    text = (DOCKER / "Dockerfile").read_text()
    named = r"^FROM python:[\d.]+-slim-bookworm@sha256:([0-9a-f]+) AS base$"
    (digest,) = re.findall(named, text, re.M)
    assert len(digest) == 64
    # What runs has no installer: the package comes from a stage that has one.
    for target in ("serve", "train"):
        stage = re.search(rf"^FROM runtime AS {target}$(.*?)(?=^FROM|\Z)", text, re.M | re.S)
        assert not re.search(r"^RUN", stage[1], re.M)


def test_commands_exist():
    """Every `sentiment ...` that a deployment runs is a command with these options."""
    import typer

    from sentiment.cli import build_app

    group = typer.main.get_command(build_app())
    assert {"train", "register", "serve", "models"} <= set(group.commands)
    register = {
        option for parameter in group.commands["register"].params for option in parameter.opts
    }
    assert {"--latest", "--promote"} <= register
    pull = {
        option
        for parameter in group.commands["models"].commands["pull"].params
        for option in parameter.opts
    }
    assert "--watch" in pull


def test_the_schedules_command_exists():
    """What Compose, the CronJob and the scheduled task run."""
    import typer

    from sentiment.cli import build_app

    commands = typer.main.get_command(build_app()).commands
    default = (DOCKER / "terraform/variables.tf").read_text()
    assert re.search(r'variable "train_command" {.*?default += \["retrain"\]', default, re.S)
    assert "retrain" in commands


def test_operations_page_explains_every_alert():
    page = (DOCKER / "OPERATIONS.md").read_text()
    rules = yaml.safe_load((ROOT / "monitoring/prometheus/rules/alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert {alert for alert in alerts if f"`{alert}`" not in page} == set()


def test_health_check_asks_what_it_is_told():
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health/live" else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        check = [sys.executable, "-IS", str(DOCKER / "healthcheck.py")]
        env = {"SENTIMENT_PORT": str(server.server_port)}
        assert subprocess.run(check, env=env, check=False, capture_output=True).returncode == 0
        wrong = [*check, str(server.server_port), "/other"]
        assert subprocess.run(wrong, env={}, check=False, capture_output=True).returncode == 1
        server.shutdown()

    gone = subprocess.run(check, env=env, check=False, capture_output=True, text=True)
    assert gone.returncode == 1
    assert "no answer" in gone.stderr


def test_model_sync_is_healthy_while_it_asks_and_its_times_are_metrics(tmp_path):
    from prometheus_client import generate_latest

    from sentiment.store import note_sync, read_sync
    from serve.sync import ModelSync

    def looked(seconds):
        check = [sys.executable, "-IS", str(DOCKER / "healthcheck.py"), "--looked", str(seconds)]
        env = {"SENTIMENT_OUTPUT_DIR": str(tmp_path)}
        return subprocess.run(check, env=env, check=False, capture_output=True).returncode

    registry = CollectorRegistry()
    registry.register(ModelSync(tmp_path))
    assert looked(60) == 1
    assert generate_latest(registry) == b""
    note_sync(tmp_path, answered=False)
    assert looked(60) == 0
    assert looked(0) == 1
    assert read_sync(tmp_path).answered_at == 0
    note_sync(tmp_path, answered=True)
    text = generate_latest(registry).decode()
    now = read_sync(tmp_path)
    assert now.answered_at == now.looked_at
    for name in ("look", "answer"):
        (value,) = re.findall(rf"^sentiment_model_sync_{name}_timestamp_seconds (.+)$", text, re.M)
        assert float(value) == now.looked_at
    (tmp_path / "models/sync.json").write_text("{")
    assert generate_latest(registry) == b""
