"""The compose files, the kustomize base and the systemd unit fit the program and its image.

`make lint` holds compose files and Kubernetes' own kinds to their schemas. The Prometheus Operator's kinds have no
schema in a package, so their structure is held here.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bot.cli import EXIT_SETTINGS
from bot.core import timing
from bot.settings import NAMES
from bot.settings.urls import database_fault

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UNIT = (ROOT / "deploy" / "systemd" / "reload-model.service").read_text(encoding="utf-8")

ONE, REPLICAS = (
    YAML(typ="safe").load(ROOT / path)["services"]["bot"] for path in ("compose.yaml", "deploy/compose.postgres.yaml")
)

BASE = ROOT / "deploy" / "kubernetes"
OBJECTS = {path.relative_to(BASE).as_posix(): YAML(typ="safe").load(path) for path in BASE.rglob("*.yaml")}
POD = OBJECTS["deployment.yaml"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def of_unit(name: str) -> str:
    """The one value of a setting in the systemd unit."""
    [found] = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(found)


def values(thing: object, *keys: str) -> Iterator[object]:
    """Every value of these keys, however deep."""
    if isinstance(thing, dict):
        yield from (value for key, value in thing.items() if key in keys)
        thing = [*thing.values()]
    if isinstance(thing, list):
        for each in thing:
            yield from values(each, *keys)


def test_the_bot_has_the_time_it_takes_to_stop() -> None:
    """Otherwise it is killed."""
    composed = [float(service["stop_grace_period"].removesuffix("s")) for service in (ONE, REPLICAS)]

    assert min(composed) > timing.EXIT > timing.STOP
    assert POD["spec"]["terminationGracePeriodSeconds"] > timing.EXIT
    assert float(of_unit("TimeoutStopSec")) > timing.EXIT


# Compose


@pytest.mark.parametrize("bot", [ONE, REPLICAS], ids=["one", "replicas"])
def test_the_bot_can_do_only_what_it_must(bot: dict[str, object]) -> None:
    """It writes nothing outside its volumes, and gains no rights. The health check is that of the image."""
    assert (bot["read_only"], bot["cap_drop"], bot["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert "healthcheck" not in bot
    assert 'CMD ["reload-model-bot", "health"]' in DOCKERFILE


def test_the_password_is_not_in_the_url() -> None:
    """Special characters in it would have to be percent-encoded there."""
    environment = REPLICAS["environment"]

    assert database_fault(environment["DATABASE_URL"]) is None
    assert "$" not in environment["DATABASE_URL"]
    assert environment["PGPASSWORD"] == "${POSTGRES_PASSWORD}"
    assert set(environment) - {"PGPASSWORD"} <= set(NAMES)


def test_the_published_port_is_that_of_the_image() -> None:
    """On this machine only: a proxy stands before it. In the container, loopback would keep everybody out."""
    [port] = re.findall(r"^EXPOSE (\d+)", DOCKERFILE, re.MULTILINE)

    assert re.search(r"^ENV .*(\\\n.*)*HOST=0\.0\.0\.0", DOCKERFILE, re.MULTILINE)
    assert ONE["ports"] == [f"127.0.0.1:{port}:{port}"]


# Kubernetes


@pytest.mark.parametrize("folder", ["", "monitoring/"])
def test_a_kustomization_takes_all_files_of_its_folder(folder: str) -> None:
    """A file that it doesn't name would never be applied."""
    files = {path.name for path in (BASE / folder).glob("*.yaml")}

    assert {*OBJECTS[f"{folder}kustomization.yaml"]["resources"]} == files - {"kustomization.yaml"}


def test_there_are_no_other_kinds_than_these() -> None:
    """For the last four make lint has no schema, and would take a misspelled kind for a fifth."""
    assert {(found["apiVersion"], found["kind"]) for found in OBJECTS.values()} == {
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("policy/v1", "PodDisruptionBudget"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
        ("kustomize.config.k8s.io/v1alpha1", "Component"),
        ("monitoring.coreos.com/v1", "PodMonitor"),
        ("monitoring.coreos.com/v1", "PrometheusRule"),
    }


def test_selectors_and_ports_are_those_of_the_pods() -> None:
    """By the labels that the Deployment gives them, and the names of the container's ports."""
    everything, pods = [*OBJECTS.values()], POD["metadata"]["labels"]
    selectors = values(everything, "selector", "podSelector", "labelSelector")
    named = {port for port in values(everything, "port", "targetPort") if isinstance(port, str)}

    assert [found for found in selectors if found not in (pods, {"matchLabels": pods})] == []
    assert named == set(PORTS)


def test_the_probes_and_metrics_are_at_the_admin_port() -> None:
    """The bot serves them there, and nothing of Slack's."""
    [setting] = CONTAINER["env"]
    probes = [CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness", "readiness")]
    [endpoint] = OBJECTS["monitoring/podmonitor.yaml"]["spec"]["podMetricsEndpoints"]

    assert setting == {"name": "ADMIN_PORT", "value": str(PORTS["admin"])}
    assert setting["name"] in NAMES
    assert {*probes, endpoint["port"]} == {"admin"}
    assert POD["spec"]["enableServiceLinks"] is False  # a Service of this name would set it


# Systemd


def test_the_unit_runs_the_program_that_the_wheel_installs() -> None:
    """Wrong settings are not tried again; those that its advice on credentials names are settings."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    named = set(re.findall(r"^# +Environment=(\w+)=", UNIT, re.MULTILINE))

    assert Path(of_unit("ExecStart")).name in scripts
    assert (of_unit("Restart"), int(of_unit("RestartPreventExitStatus"))) == ("always", EXIT_SETTINGS)
    assert named
    assert named <= set(NAMES)
