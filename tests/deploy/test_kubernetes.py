"""The kustomize base and its monitoring component. `make lint` holds each object to the schema of its kind.

The Prometheus Operator's kinds have no schema in a package, so their structure is held here.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bot.core.timing import Timing
from bot.settings import NAMES

BASE = Path(__file__).parent.parent.parent / "deploy" / "kubernetes"
OBJECTS = {path.relative_to(BASE).as_posix(): YAML(typ="safe").load(path) for path in BASE.rglob("*.yaml")}
POD = OBJECTS["deployment.yaml"]["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def values(thing: object, *keys: str) -> Iterator[object]:
    """Every value of these keys, however deep."""
    if isinstance(thing, dict):
        yield from (value for key, value in thing.items() if key in keys)
        thing = [*thing.values()]
    if isinstance(thing, list):
        for each in thing:
            yield from values(each, *keys)


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


@pytest.mark.parametrize("file", sorted(OBJECTS))
def test_every_selector_finds_the_pods(file: str) -> None:
    """By the labels that the Deployment gives them."""
    pods = POD["metadata"]["labels"]
    selectors = [*values(OBJECTS[file], "selector", "podSelector", "labelSelector")]

    assert [found for found in selectors if found not in (pods, {"matchLabels": pods})] == []


def test_every_port_by_name_is_one_of_the_container() -> None:
    """Probes, the Service, the policies and the PodMonitor name them."""
    named = {port for port in values([*OBJECTS.values()], "port", "targetPort") if isinstance(port, str)}

    assert named == set(PORTS)


def test_the_probes_and_metrics_are_at_the_admin_port() -> None:
    """The bot serves them there, and nothing of Slack's. No Service of such a name sets another one."""
    [setting] = CONTAINER["env"]
    probes = [CONTAINER[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness", "readiness")]
    [endpoint] = OBJECTS["monitoring/podmonitor.yaml"]["spec"]["podMetricsEndpoints"]

    assert setting == {"name": "ADMIN_PORT", "value": str(PORTS["admin"])}
    assert setting["name"] in NAMES
    assert {*probes, endpoint["port"]} == {"admin"}
    assert POD["spec"]["enableServiceLinks"] is False


def test_the_pod_has_the_time_it_takes_to_stop() -> None:
    """The kubelet kills what is still there then."""
    assert POD["spec"]["terminationGracePeriodSeconds"] > Timing().exit


def test_the_rules_are_built_as_the_operator_expects() -> None:
    """https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.Rule."""
    [group] = OBJECTS["monitoring/prometheusrule.yaml"]["spec"]["groups"]

    assert set(group) == {"name", "rules"}
    assert {key for rule in group["rules"] for key in rule} == {"alert", "expr", "for", "labels", "annotations"}
