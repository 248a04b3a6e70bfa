"""The manifests in deploy/kubernetes are valid, name only settings that exist, and contain no secret."""

import copy
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from pickup_dispatch import create_app as dispatch_app
from pickup_learn import create_app as learn_app
from pickup_manager import create_app as manager_app
from pickup_web.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
OLDEST = "1.30"  # the first version in which preStop.sleep is on by default
SERVICES = ("idp", "dispatch", "manager", "learn")
READ_BY_GUNICORN = {"PICKUP_LISTEN"}
SECRETS: dict[str, set[str]] = runpy.run_path(str(ROOT / "scripts/environment.py"))["SECRETS"]
NO_MANIFESTS = {"kustomization.yaml"}

Object = dict[str, Any]


def objects_in(file: Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(file.read_text("utf-8")) if one]


OBJECTS = [one for file in sorted(FOLDER.rglob("*.yaml")) if file.name not in NO_MANIFESTS for one in objects_in(file)]
SETTINGS = dict(
    line.split("=", 1)
    for line in (FOLDER / "settings/settings.env").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)


def object_of(kind: str, name: str) -> Object:
    return next(one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name))


def pod_of(service: str) -> Object:
    pod: Object = object_of("Deployment", service)["spec"]["template"]["spec"]
    return pod


def container_of(service: str) -> Object:
    (container,) = pod_of(service)["containers"]
    assert isinstance(container, dict)
    return container


def migration_of(service: str) -> Object:
    containers = object_of("Job", "migrations")["spec"]["template"]["spec"]["containers"]
    found: Object = next(one for one in containers if one["name"] == service)
    return found


CONTAINERS = [find(service) for find in (container_of, migration_of) for service in SERVICES]
PODS = [*map(pod_of, SERVICES), object_of("Job", "migrations")["spec"]["template"]["spec"]]


def setting_names() -> set[str]:
    return {f"PICKUP_{name.upper()}" for name in Settings.model_fields}


# --- valid ---


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_manifest_follows_the_schema(manifest: Object, version: str) -> None:
    """Strictly: unknown fields are errors, too."""
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize(("path", "value"), [("replicas", "two"), ("replica", 2)])
def test_schema_check_finds_errors(path: str, value: object) -> None:
    """A wrong type, and a name that does not exist."""
    broken = copy.deepcopy(object_of("Deployment", "idp"))
    broken["spec"][path] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST, strict=True)


def test_every_manifest_is_in_a_kustomization() -> None:
    """A file that no kustomization lists would never be applied."""
    for kustomization in FOLDER.rglob("kustomization.yaml"):
        content = objects_in(kustomization)[0]
        folder = kustomization.parent
        manifests = {file.name for file in folder.glob("*.yaml")} - NO_MANIFESTS
        assert set(content["resources"]) == manifests
        assert all((folder / other / "kustomization.yaml").exists() for other in content.get("components", []))


@pytest.mark.thorough
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("folder", [FOLDER, FOLDER / "migrations"], ids=lambda folder: folder.name)
def test_kustomize_builds_valid_objects(folder: Path) -> None:
    """In the namespace, with the image and the generated settings."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))
    for one in built:
        kubernetes_validate.validate(one, OLDEST, strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "pickup"
    (settings,) = (one for one in built if one["kind"] == "ConfigMap")
    assert settings["data"] == SETTINGS
    for one in built:
        for container in one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            assert container["envFrom"] == [{"configMapRef": {"name": settings["metadata"]["name"]}}]
            assert container["image"] != "pickup"


# --- settings and secrets ---


def test_every_named_setting_exists() -> None:
    """In the settings file and in each container."""
    named = set(SETTINGS) | {entry["name"] for container in CONTAINERS for entry in container["env"]}
    assert set(re.findall(r'environ\.get\("(\w+)"', (ROOT / "gunicorn.conf.py").read_text("utf-8"))) >= READ_BY_GUNICORN
    assert named <= setting_names() | READ_BY_GUNICORN


def test_no_manifest_contains_a_secret() -> None:
    """Secrets are named, and their values are in a Secret that the reader creates."""
    fields = Settings.model_fields.items()
    secret = {f"PICKUP_{name.upper()}" for name, field in fields if "SecretStr" in str(field.annotation)}
    secret |= {name for names in SECRETS.values() for name in names}
    assert not secret & set(SETTINGS)
    for container in CONTAINERS:
        for entry in container["env"]:
            assert entry.keys() == {"name", "valueFrom"}
            assert entry["valueFrom"]["secretKeyRef"]["name"] == "pickup"
    assert not [one for one in OBJECTS if one["kind"] == "Secret"]


@pytest.mark.parametrize("find", [container_of, migration_of])
@pytest.mark.parametrize("service", SERVICES)
def test_service_gets_its_own_secrets_only(service: str, find: Any) -> None:
    """The key arrives under the name that all services read."""
    keys = {entry["name"]: entry["valueFrom"]["secretKeyRef"]["key"] for entry in find(service)["env"]}
    assert keys.pop("PICKUP_SECRET_KEY") == f"PICKUP_{service.upper()}_SECRET_KEY"
    assert all(name == key for name, key in keys.items())
    assert set(keys) <= SECRETS[service]
    assert f"PICKUP_{service.upper()}_DATABASE_URL" in keys


def test_readme_creates_every_secret() -> None:
    """The keys of its command are the keys that the manifests name."""
    created = set(re.findall(r"^(PICKUP_\w+)=", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE))
    named = {entry["valueFrom"]["secretKeyRef"]["key"] for one in CONTAINERS for entry in one["env"]}
    assert created == named


@pytest.mark.parametrize("service", SERVICES)
def test_service_starts_with_these_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the container has them. The values of the secrets do not matter."""
    for name in [name for name in os.environ if name.startswith("PICKUP_")]:
        monkeypatch.delenv(name)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    for entry in container_of(service)["env"]:
        monkeypatch.setenv(entry["name"], "any")
    settings = load_settings(service)
    assert not settings.demo_plain_http
    assert settings.trusted_proxies == 1


# --- robust ---


@pytest.mark.parametrize("service", SERVICES)
def test_deployment_has_probes(service: str) -> None:
    """A restart does not repair a database, so the liveness probe does not read it."""
    container = container_of(service)
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["livenessProbe"]["tcpSocket"] == {"port": "http"}
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful: int = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["graceful_timeout"]
    assert before + graceful < pod_of(service)["terminationGracePeriodSeconds"], "Kubernetes kills the pod then"


@pytest.mark.parametrize("service", SERVICES)
def test_requests_reach_the_service(service: str) -> None:
    """Its own pods, on the port on which gunicorn listens."""
    deployment, own = object_of("Deployment", service), object_of("Service", service)["spec"]
    port, metrics = container_of(service)["ports"]
    assert metrics == {"name": "metrics", "containerPort": int(SETTINGS["PICKUP_METRICS_LISTEN"].rpartition(":")[2])}
    assert own["ports"] == [{"name": "http", "port": 80, "targetPort": port["name"]}]
    assert SETTINGS["PICKUP_LISTEN"] == f"0.0.0.0:{port['containerPort']}"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert own["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"] == own["selector"]


@pytest.mark.parametrize("service", ["idp", "dispatch", "manager"])
def test_replicas_survive_a_node(service: str) -> None:
    """They run on different nodes, and a drain or a rollout takes one at a time."""
    spec, budget = object_of("Deployment", service)["spec"], object_of("PodDisruptionBudget", service)["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (spread,) = pod_of(service)["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"]) == ("kubernetes.io/hostname", 1)
    assert spread["labelSelector"] == budget["selector"] == spec["selector"]
    assert budget["maxUnavailable"] < spec["replicas"]


def test_learn_has_one_replica() -> None:
    """Its collector must be the only one, also during a rollout."""
    spec = object_of("Deployment", "learn")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


# --- guarded ---


@pytest.mark.parametrize("pod", PODS, ids=[*SERVICES, "migrations"])
def test_pod_is_restricted(pod: Object) -> None:
    """Kubernetes' own standard "restricted", and a read-only root file system."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # they set variables that look like our settings
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text("utf-8")
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 # in the container
        resources = container["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert "memory" in resources["limits"]
    assert [*pod["volumes"][0]] == ["name", "emptyDir"]


def test_namespace_refuses_other_pods() -> None:
    """Kubernetes enforces the standard."""
    assert object_of("Namespace", "pickup")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_requests_come_through_the_ingress_controller_only() -> None:
    """Everything that is not allowed is refused, for each pod of the namespace."""
    services = object_of("NetworkPolicy", "services")["spec"]
    labels = [object_of(kind, name)["spec"]["template"]["metadata"]["labels"]
              for kind, name in [*(("Deployment", one) for one in SERVICES), ("Job", "migrations")]]  # fmt: skip
    assert all(services["podSelector"]["matchLabels"].items() <= own.items() for own in labels)
    ports = {rule["ports"][0]["port"]: rule["from"] for rule in services["ingress"]}
    assert ports.keys() == {"http", "metrics"}
    assert all([*sources[0]] == ["namespaceSelector"] for sources in ports.values())
    others = object_of("NetworkPolicy", "deny-others")["spec"]
    assert others == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert services["policyTypes"] == others["policyTypes"]


# --- reached ---


@pytest.mark.parametrize("service", SERVICES)
def test_ingress_has_the_hosts_of_the_settings(service: str) -> None:
    """With TLS, and the whole path."""
    host = urlsplit(SETTINGS[f"PICKUP_{service.upper()}_URL"]).hostname
    spec = object_of("Ingress", "pages")["spec"]
    (rule,) = (rule for rule in spec["rules"] if rule["host"] == host)
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    assert rule["http"]["paths"] == [{"path": "/", "pathType": "Prefix", "backend": backend}]
    assert host in spec["tls"][0]["hosts"]


@pytest.mark.parametrize(
    ("service", "create", "path"),
    [
        ("dispatch", dispatch_app, "/session/live"),
        ("manager", manager_app, "/session/live"),
        ("learn", learn_app, "/api/stream"),
    ],
)
def test_event_streams_are_not_buffered(
    service: str, create: Any, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The path is that of the application."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PICKUP_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PICKUP_METRICS_LISTEN")  # another process's
    monkeypatch.setenv("PICKUP_SECRET_KEY", "any")
    monkeypatch.setenv(f"PICKUP_{service.upper()}_CLIENT_SECRET", "any")
    assert path in {rule.rule for rule in create().url_map.iter_rules()}
    url = urlsplit(SETTINGS[f"PICKUP_{service.upper()}_URL"])
    streams = object_of("Ingress", "streams")
    assert streams["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    (rule,) = (rule for rule in streams["spec"]["rules"] if rule["host"] == url.hostname)
    (only,) = rule["http"]["paths"]
    assert (only["path"], only["pathType"]) == (url.path + path, "Exact")
    assert only["backend"]["service"]["name"] == service


# --- migrations ---


@pytest.mark.parametrize("service", SERVICES)
def test_migration_loads_the_same_application(service: str) -> None:
    """With the settings and secrets of the service."""
    migration, own = migration_of(service), container_of(service)
    assert migration["env"] == own["env"]
    assert migration["envFrom"] == own["envFrom"]
    assert migration["args"] == [own["args"][0], "--check-config", *own["args"][1:]]


@pytest.mark.thorough
def test_migration_creates_the_tables_and_exits(tmp_path: Path) -> None:
    """The command of the job, with a SQLite file."""
    secrets = {entry["name"]: "any" for entry in migration_of("dispatch")["env"]}
    del secrets["PICKUP_DISPATCH_DATABASE_URL"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PICKUP_")}
    folders = {"PICKUP_DATA_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-m", *migration_of("dispatch")["args"]],
        cwd=ROOT, env={**own, **SETTINGS, **secrets, **folders}, check=True, timeout=60,
    )  # fmt: skip
    with sqlite3.connect(tmp_path / "dispatch.db") as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"booking", "rp_session"} <= tables
