"""Documents, alerts and the dashboard name the metrics that there are, and no label can grow without end."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Metric, generate_latest
from ruamel.yaml import YAML

from bot import metrics
from bot.core.models import JobKind
from bot.core.retry import PAUSE_LIMIT
from bot.errors import Failure, SlackRetryableError
from bot.slack.client import TOKEN_FAULTS

ROOT = Path(__file__).parent.parent
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "deploy" / "kubernetes" / "monitoring" / "prometheusrule.yaml").read_text(encoding="utf-8")
[GROUP] = YAML(typ="safe").load(ALERTS)["spec"]["groups"]
RULES = GROUP["rules"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "reload-model.json").read_text(encoding="utf-8"))
QUERIES = [(panel["title"], target) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

_SERIES = re.compile(r"(reload_model_\w+)(?:\{([^}]*)\})?")
_OF_THE_SCRAPE = {"instance", "job"}
"""The labels that Prometheus adds."""


def failing(code: str, wait: float = 3.0) -> None:
    """Have a call to Slack fail with this code, which asks for so long a pause."""
    with pytest.raises(SlackRetryableError), metrics.slack_call("chat.postMessage"):
        raise SlackRetryableError(code, wait)


def families() -> Mapping[str, Metric]:
    """The metrics by their name as Prometheus has it, each with at least one series."""
    failing("ratelimited")
    metrics.FOLLOW_UPS.labels("channel")
    metrics.request_refused("404")
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family for family in REGISTRY.collect()
    }


FAMILIES = families()
SAMPLES = {sample.name for family in FAMILIES.values() for sample in family.samples}


def labels_of(family: Metric) -> list[str]:
    """The labels of a metric, in their order."""
    return [label for label in family.samples[0].labels if label != "le"]


def assert_exported(expression: str) -> None:
    """Every series in it is exported, with these labels and buckets."""
    found = _SERIES.findall(expression)
    assert found
    for name, selector in found:
        assert name in SAMPLES
        family = FAMILIES.get(name) or FAMILIES[re.sub(r"_(?:bucket|sum|count|total)$", "", name)]
        for label, value in re.findall(r'(\w+)[=!]=?~?"([^"]*)"', selector):
            if label == "le":
                assert value in {sample.labels.get("le") for sample in family.samples}
            else:
                assert label in _OF_THE_SCRAPE or all(label in sample.labels for sample in family.samples)
        for label in re.findall(r"\w+", " ".join(re.findall(r"by \(([\w, ]+)\)", expression))):
            assert label in {"le", *_OF_THE_SCRAPE, *labels_of(family)}


def test_every_metric_is_documented_and_shown() -> None:
    """The table has a row for each, with its labels, and names no other. The dashboard shows each."""
    for name, family in FAMILIES.items():
        labels = ", ".join(f"`{label}`" for label in labels_of(family))
        assert (f"| `{name}` | {labels} |" if labels else f"| `{name}` | |") in OPERATING
    assert set(re.findall(r"^\| `(reload_model_\w+)`", OPERATING, re.MULTILINE)) == set(FAMILIES)
    series = {name for _, target in QUERIES for name, _ in _SERIES.findall(target["expr"])}
    assert [name for name in FAMILIES if not series & {name, f"{name}_bucket", f"{name}_sum"}] == []


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


def test_the_advice_of_an_alert_names_events_and_metrics_that_exist() -> None:
    """Somebody who is woken up by an alert searches the log for these events."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bot").rglob("*.py"))
    advice = " ".join(re.findall(r"the log for ([^.;,]*)", ALERTS))
    events = re.findall(r"[a-z]+_[a-z_]+|undeliverable", advice)

    assert len(events) >= 5
    assert [event for event in events if f'"{event}"' not in sources] == []
    assert set(re.findall(r"reload_model_\w+", ALERTS)) <= SAMPLES | set(FAMILIES)


def test_each_alert_is_complete() -> None:
    """It has a name of its own, a severity, what it means, and what to do, where the operator looks for them.

    https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.Rule
    """
    assert set(GROUP) == {"name", "rules"}
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule) | {"for"} == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_every_code_of_a_refused_token_has_an_alert() -> None:
    """And none of them is counted as "other"."""
    [expression] = [rule["expr"] for rule in RULES if rule["alert"] == "ReloadModelSlackTokenRefused"]
    for code in TOKEN_FAULTS:
        failing(code)
        assert f'code="{code}"' in generate_latest().decode()
        assert code in expression


def test_series_with_known_labels_exist_from_the_start() -> None:
    """Prometheus sees an increase only of a series that it has seen before."""
    text = generate_latest().decode()

    for kind in JobKind:
        for name in ("jobs_claimed_total", "job_retries_total", "job_crashes_total", "jobs_running"):
            assert f'reload_model_{name}{{kind="{kind.value}"}}' in text
    for failure in Failure:
        assert f'reload_model_reloads_total{{result="{failure.value}"}}' in text
        assert f'reload_model_modelslab_errors_total{{failure="{failure.value}"}}' in text


def test_an_absurd_pause_does_not_spoil_the_sum() -> None:
    """The bot waits for five minutes at most."""
    failing("ratelimited", 1e30)

    total = REGISTRY.get_sample_value("reload_model_rate_limit_wait_seconds_sum", {"service": "slack"})
    assert PAUSE_LIMIT <= (total or 0.0) < 1e6


def test_an_odd_code_or_one_too_many_is_counted_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label must not hold whatever Slack says: Prometheus keeps every series that it has ever seen."""
    wrong = ["x" * 61, "a code", "xoxb-1", "0123456789abcdef0123456789abcdef"]
    for code in wrong:
        failing(code)
    monkeypatch.setattr("bot.metrics._codes", {f"code_{number:03}" for number in range(100)})
    failing("one_more")
    failing("code_042")
    text = generate_latest().decode()

    assert [code for code in (*wrong, "one_more") if code in text] == []
    assert 'code="other"' in text
    assert 'code="code_042"' in text
