"""What is counted, and that README, the alert rules and the dashboard name the metrics that there are."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import Metric
from ruamel.yaml import YAML

from bot.core.models import JobKind
from bot.errors import Failure, ModelsLabRetryableError, SlackRetryableError
from bot.ops.metrics import CODES, CONTENT_TYPE, METHODS, Metrics
from bot.slack.client import TOKEN_FAULTS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "deploy" / "kubernetes" / "monitoring" / "prometheusrule.yaml").read_text(encoding="utf-8")
RULES = [rule for group in YAML(typ="safe").load(ALERTS)["spec"]["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "reload-model.json").read_text(encoding="utf-8"))
QUERIES = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

_SUFFIX = re.compile(r"_(?:bucket|sum|count|total)$")
_SERIES = re.compile(r"(reload_model_\w+)(?:\{([^}]*)\})?")
_OF_THE_SCRAPE = {"instance", "job"}
"""The labels that Prometheus adds."""


def everything() -> Metrics:
    """Metrics in which each thing has happened once."""
    metrics = Metrics()
    metrics.command("requested")
    metrics.due(0.1)
    metrics.claimed(JobKind.CALL)
    metrics.ended(JobKind.CALL)
    metrics.retried(JobKind.CALL)
    metrics.crashed(JobKind.CALL)
    metrics.lease_lost()
    metrics.accepted()
    metrics.failed(Failure.DOWN)
    metrics.notified("channel", 0.2)
    metrics.undeliverable()
    metrics.text(in_flight=1, idle=0.5)
    with pytest.raises(ModelsLabRetryableError), metrics.calling():
        raise ModelsLabRetryableError(Failure.RATE_LIMIT, wait=7)
    with pytest.raises(SlackRetryableError), metrics.posting("chat.postMessage"):
        raise SlackRetryableError("ratelimited", 3)
    return metrics


def families() -> Mapping[str, Metric]:
    """The metrics by their name as Prometheus has it, which ends with _total for a counter."""
    found = {}
    for family in everything().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family
    return found


FAMILIES = families()


def labels_of(family: Metric) -> list[str]:
    """The labels of a metric, in their order."""
    return [label for label in family.samples[0].labels if label != "le"]


def samples() -> set[str]:
    """Every name that an expression can use."""
    return {sample.name for family in FAMILIES.values() for sample in family.samples}


def assert_exported(expression: str) -> None:
    """Every series in it is exported, with these labels and buckets."""
    found = _SERIES.findall(expression)
    assert found
    for name, selector in found:
        assert name in samples()
        family = FAMILIES[name] if name in FAMILIES else FAMILIES[_SUFFIX.sub("", name)]
        for label, value in re.findall(r'(\w+)[=!]=?~?"([^"]*)"', selector):
            if label == "le":
                assert value in {sample.labels.get("le") for sample in family.samples}
            else:
                assert label in _OF_THE_SCRAPE or all(label in sample.labels for sample in family.samples)
        for label in re.findall(r"\w+", " ".join(re.findall(r"by \(([\w, ]+)\)", expression))):
            assert label in {"le", *_OF_THE_SCRAPE, *labels_of(family)}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_metric_is_documented(name: str) -> None:
    """The table in README has a row for each, with its labels."""
    labels = ", ".join(f"`{label}`" for label in labels_of(FAMILIES[name]))

    assert (f"| `{name}` | {labels} |" if labels else f"| `{name}` | |") in README


def test_no_other_metric_is_documented() -> None:
    """README names only what is exported."""
    assert set(re.findall(r"`(reload_model_\w+)`", README)) == set(FAMILIES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_the_alerts_use_what_is_exported(rule: Mapping[str, str]) -> None:
    """An expression with another series, label or bucket would never fire."""
    assert_exported(rule["expr"])


@pytest.mark.parametrize(("title", "target"), QUERIES)
def test_the_dashboard_uses_what_is_exported(title: str, target: Mapping[str, str]) -> None:
    """A panel with another series or label would stay empty."""
    expression = target["expr"]

    assert_exported(expression)
    assert all('job=~"$job"' in selector for _, selector in _SERIES.findall(expression)), title
    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
        assert re.search(rf"by \([\w, ]*\b{label}\b", expression), title


def test_the_dashboard_shows_every_metric() -> None:
    """Whatever is counted can be looked at."""
    series = {name for _, target in QUERIES for name, _ in _SERIES.findall(target["expr"])}

    assert [name for name in FAMILIES if not series & {name, f"{name}_bucket", f"{name}_sum"}] == []


def test_the_advice_names_what_is_logged() -> None:
    """The events that a rule sends people to look for in the log."""
    advised = {
        event
        for phrase in re.findall(r"the log for ([\w, ]+)", ALERTS)
        for event in re.findall(r"\w+_\w+|undeliverable", phrase)
    }
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bot").rglob("*.py"))

    assert advised
    assert [event for event in advised if f'"{event}"' not in sources] == []


@pytest.mark.parametrize("name", re.findall(r"reload_model_\w+", ALERTS))
def test_the_advice_names_what_is_exported(name: str) -> None:
    """What a rule tells people to look at is there, too."""
    assert name in samples() | set(FAMILIES)


def test_each_alert_is_complete() -> None:
    """It has a name of its own, a severity, what it means, and what to do."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_every_code_of_a_refused_token_has_an_alert() -> None:
    """None of them is counted as "other"."""
    [expression] = [rule["expr"] for rule in RULES if rule["alert"] == "ReloadModelSlackTokenRefused"]

    assert TOKEN_FAULTS <= CODES
    assert [code for code in TOKEN_FAULTS if code not in expression] == []


def test_series_with_known_labels_start_at_zero() -> None:
    """Prometheus sees an increase only of a series that it has seen before."""
    text = Metrics().text(in_flight=0, idle=0).decode()

    for kind in JobKind:
        for name in ("jobs_claimed_total", "job_retries_total", "job_crashes_total", "jobs_running"):
            assert f'reload_model_{name}{{kind="{kind.value}"}} 0.0' in text
    for failure in Failure:
        assert f'reload_model_reloads_total{{result="{failure.name.lower()}"}} 0.0' in text
        assert f'reload_model_modelslab_errors_total{{failure="{failure.name.lower()}"}} 0.0' in text


def test_the_text_is_in_prometheus_format() -> None:
    """With the two values that are read at the time of the scrape."""
    text = everything().text(in_flight=2, idle=0.5).decode()

    assert CONTENT_TYPE.startswith("text/plain; version=")
    assert "# TYPE reload_model_commands_total counter" in text
    assert "reload_model_reloads_in_flight 2.0" in text
    assert "reload_model_worker_idle_seconds 0.5" in text
    assert "_created" not in text


def test_labels_are_bounded() -> None:
    """A method or code that isn't known is "other"."""
    metrics = Metrics()
    with pytest.raises(SlackRetryableError), metrics.posting("users.delete"):
        raise SlackRetryableError("x" * 80)
    with metrics.posting("users.delete"), metrics.calling():
        pass

    text = metrics.text(in_flight=0, idle=0).decode()
    assert 'reload_model_slack_errors_total{code="other",method="other"} 1.0' in text
    assert "users.delete" not in METHODS


def test_a_failure_has_no_lateness() -> None:
    """It has no time at which people expect it."""
    metrics = Metrics()
    metrics.notified("direct", None)
    text = metrics.text(in_flight=0, idle=0).decode()

    assert 'reload_model_follow_ups_total{via="direct"} 1.0' in text
    assert "reload_model_follow_up_late_seconds_count 0.0" in text
