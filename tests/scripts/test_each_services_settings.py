"""Each service's environment holds its own secrets and no other service's: an app that is broken into is one app."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pickup_web.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("idp", "dispatch", "manager", "learn")
SECRETS = {
    "PICKUP_IDP_SECRET_KEY": "key of the IdP",
    "PICKUP_DISPATCH_SECRET_KEY": "key of Dispatch",
    "PICKUP_MANAGER_SECRET_KEY": "key of Manager",
    "PICKUP_LEARN_SECRET_KEY": "key of Learn",
    "PICKUP_DISPATCH_CLIENT_SECRET": "secret of Dispatch",
    "PICKUP_MANAGER_CLIENT_SECRET": "secret of Manager",
    "PICKUP_ADMIN_CLIENT_SECRET": "secret of pickup-admin",
    "PICKUP_DEMO_PASSWORD": "password of admin",
    "PICKUP_REGISTRATION_TOKEN": "token that registers",
    "PICKUP_IDP_DATABASE_URL": "postgresql://idp:one@db/idp",
    "PICKUP_DISPATCH_DATABASE_URL": "postgresql://dispatch:two@db/dispatch",
    "PICKUP_MANAGER_DATABASE_URL": "postgresql://manager:three@db/manager",
    "PICKUP_LEARN_DATABASE_URL": "postgresql://learn:four@db/learn",
}
# The IdP checks both client secrets, so it is the one service that shares them with their apps.
MAY_HOLD = {
    "idp": set(SECRETS.values())
    - {
        "key of Dispatch",
        "key of Manager",
        "key of Learn",
        "postgresql://dispatch:two@db/dispatch",
        "postgresql://manager:three@db/manager",
        "postgresql://learn:four@db/learn",
    },
    "dispatch": {"key of Dispatch", "secret of Dispatch", "postgresql://dispatch:two@db/dispatch"},
    "manager": {"key of Manager", "secret of Manager", "postgresql://manager:three@db/manager"},
    "learn": {"key of Learn", "postgresql://learn:four@db/learn"},
}
# With replicas: the passwords of PostgreSQL's roles. In other stacks no service has one.
DATABASE_PASSWORDS = {f"PICKUP_{service.upper()}_DATABASE_PASSWORD": f"role of {service}" for service in SERVICES}
HANDED_ON = {"PICKUP_DEMO_PLAIN_HTTP": "true", "PICKUP_IDP_PORT": "9000"}


def local_environment(service: str) -> dict[str, str]:
    """What a process finds that scripts/environment.py runs."""
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    command = [sys.executable, "scripts/environment.py", service, sys.executable, "-c", show]
    given = {**os.environ, **SECRETS, **DATABASE_PASSWORDS, **HANDED_ON}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def in_compose_file(file: str, service: str) -> dict[str, Any]:
    """The service in that file."""
    return dict(yaml.safe_load((ROOT / file).read_text("utf-8"))["services"][service])


def compose_environment(service: str, file: str, overlay: str = "") -> dict[str, str]:
    """What ``docker compose`` puts into the container of ``service``, with the variables of .env filled in."""
    own = in_compose_file(file, service)
    base = in_compose_file(own["extends"]["file"], service)
    over = in_compose_file(overlay, service) if overlay else {}
    merged = {**base["environment"], **own.get("environment", {}), **over.get("environment", {})}
    assert "env_file" not in {**base, **own, **over}
    return {name: filled_in(str(value)) for name, value in merged.items()}


def filled_in(value: str) -> str:
    for name, secret in {**SECRETS, **DATABASE_PASSWORDS, **HANDED_ON}.items():
        value = value.replace(f"${{{name}:-}}", secret)
    return value


def secrets_in(environment: dict[str, str]) -> set[str]:
    secrets = {**SECRETS, **DATABASE_PASSWORDS}.values()
    return {secret for secret in secrets if any(secret in value for value in environment.values())}


@pytest.mark.parametrize("service", SERVICES)
def test_local_process_has_no_secret_of_another_service(service: str) -> None:
    """Its own are all there; so is every setting that is no secret."""
    environment = local_environment(service)
    assert secrets_in(environment) == MAY_HOLD[service]
    assert environment["PICKUP_SECRET_KEY"] == SECRETS[f"PICKUP_{service.upper()}_SECRET_KEY"]
    assert HANDED_ON.items() <= environment.items()


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.tls.yml"])
@pytest.mark.parametrize("service", SERVICES)
def test_container_has_no_secret_of_another_service(service: str, file: str) -> None:
    """With TLS and without."""
    environment = compose_environment(service, file)
    assert secrets_in(environment) == MAY_HOLD[service]
    assert environment["PICKUP_SECRET_KEY"] == SECRETS[f"PICKUP_{service.upper()}_SECRET_KEY"]


@pytest.mark.parametrize("service", SERVICES)
def test_replica_has_the_password_of_its_own_role_in_postgresql_only(service: str) -> None:
    """In place of its database URL."""
    environment = compose_environment(service, "docker-compose.tls.yml", "docker-compose.scale.yml")
    url = SECRETS[f"PICKUP_{service.upper()}_DATABASE_URL"]
    assert secrets_in(environment) == MAY_HOLD[service] - {url} | {f"role of {service}"}


def test_postgresql_itself_is_given_no_password() -> None:
    """The container that makes the roles has theirs and no other secret."""
    postgres = in_compose_file("docker-compose.scale.yml", "postgres")
    databases = in_compose_file("docker-compose.scale.yml", "databases")
    assert secrets_in({"all": filled_in(str(postgres))}) == set()
    assert secrets_in({"all": filled_in(str(databases))}) == set(DATABASE_PASSWORDS.values())


@pytest.mark.parametrize("container", ["certificates", "nginx"])
def test_helper_containers_have_no_secret(container: str) -> None:
    """They need addresses only."""
    service = yaml.safe_load((ROOT / "docker-compose.tls.yml").read_text("utf-8"))["services"][container]
    assert secrets_in({"all": filled_in(str(service))}) == set()


@pytest.mark.parametrize("service", SERVICES)
def test_its_own_settings_are_all_that_a_service_needs_to_start(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of another service is required, and nothing of its own may be missing."""
    for name, value in local_environment(service).items():
        if name.startswith("PICKUP_"):
            monkeypatch.setenv(name, value)
    settings = load_settings(service)
    assert settings.secret_key.get_secret_value() == SECRETS[f"PICKUP_{service.upper()}_SECRET_KEY"]


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("127.0.0.1:9464", ["127.0.0.1:9464", "127.0.0.1:9465", "127.0.0.1:9466", "127.0.0.1:9467"]),
        ("[::1]:9464", ["[::1]:9464", "[::1]:9465", "[::1]:9466", "[::1]:9467"]),
        ("", ["", "", "", ""]),
        ("9464x", ["9464x", "9464x", "9464x", "9464x"]),  # the service says what is wrong
    ],
)
def test_each_local_service_has_its_own_port_for_metrics(given: str, own: list[str]) -> None:
    show = "import local; print(*[local.listens(name)['PICKUP_METRICS_LISTEN'] for name in local.MODULES], sep=',')"
    listens = {f"LISTEN_{service.upper()}": "127.0.0.1:1" for service in SERVICES}
    given_environment = {**os.environ, **listens, "PICKUP_METRICS_LISTEN": given}
    done = subprocess.run(
        [sys.executable, "-c", show],
        cwd=ROOT / "scripts",
        env=given_environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().split(",") == own


def test_every_secret_setting_is_known_here() -> None:
    """A secret that is added later is added to this test, and so to one service's environment."""
    fields = Settings.model_fields.items()
    secret = {f"PICKUP_{name.upper()}" for name, field in fields if "SecretStr" in str(field.annotation)}
    assert secret - {"PICKUP_SECRET_KEY"} <= set(SECRETS)
