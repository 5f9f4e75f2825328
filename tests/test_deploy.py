"""The files under docker/ against the application that they deploy; no daemon, no network."""

import importlib.util
import re
import shutil
import subprocess
import sys
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
OTHER_VARIABLES = {"SENTIMENT_OUTPUT_DIR", "MLFLOW_TRACKING_URI"}
MOUNTED = {"/data", "/tmp"}


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
    group = set(project["dependency-groups"]["serve"])
    assert group <= set(project["project"]["dependencies"])


@pytest.mark.parametrize("image", ["serve", "train", "build"])
def test_locks_satisfy_pyproject(image):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = {
        "serve": project["dependency-groups"]["serve"],
        "train": project["project"]["dependencies"] + extras["postgres"] + extras["s3"],
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
        {line.split(" \\")[0] for line in (DOCKER / name).read_text().splitlines() if "==" in line}
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
        image = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", service["image"])
        own = image in ("sentiment-serve", "sentiment-train")
        assert own or re.search(r":v?\d+\.\d+", image), f"{name}: {image} has no version"
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service["networks"]) <= set(compose["networks"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            known = (
                (DOCKER / source).is_dir()
                if source.startswith(".")
                else source in compose["volumes"]
            )
            assert known, f"{name}: {source}"
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        assert "memory" in limits or name == "bucket", name


def test_compose_speaks_the_services_language(compose, variables):
    given = {
        name for name in compose["services"]["api"]["environment"] if name.startswith("SENTIMENT_")
    }
    assert given <= variables
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
@pytest.fixture(scope="module", params=["dev", "prod"])
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


def test_manifests_are_valid(manifests, tmp_path):
    validate = need("kubernetes-validate")
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump_all(manifests))
    run(validate, "--kubernetes-version", "1.34", "--strict", str(rendered))


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
    spec = importlib.util.spec_from_file_location("prometheus_rule", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.render(), f"run {path.relative_to(ROOT)}"


# ---- AWS ----
@pytest.mark.real
@pytest.mark.slow
def test_terraform_is_valid_and_passes_its_tests():
    need("terraform")
    out = run("bash", "docker/verify/terraform.sh", "quick")
    if "skipped" in out:
        pytest.skip(out.strip())
    assert "0 failed" in out


def test_terraform_speaks_the_services_language(paths, variables):
    text = (DOCKER / "terraform/ecs.tf").read_text()
    given = set(re.findall(r'name = "(SENTIMENT_\w+)"', text))
    assert given
    assert given <= variables | OTHER_VARIABLES
    balancer = (DOCKER / "terraform/balancer.tf").read_text()
    (path,) = re.findall(r'^\s+path\s+= "(.+)"', balancer, re.M)
    assert path in paths


# ---- everything ----
def test_workflow_is_valid():
    actionlint = need("actionlint")
    run(actionlint, ".github/workflows/ci.yaml")


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
