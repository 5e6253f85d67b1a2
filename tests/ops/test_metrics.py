"""README and the alert rules name the metrics that there are, and no label can grow without end."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import Metric
from ruamel.yaml import YAML

from bot.core.models import JobKind
from bot.errors import Failure, SlackRetryableError
from bot.ops import metrics
from bot.slack.client import TOKEN_FAULTS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ALERTS = (ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8")

_SUFFIX = re.compile(r"_(?:bucket|sum|count|total)$")
_SERIES = re.compile(r"(reload_model_\w+)(?:\{([^}]*)\})?")


def failing(code: str) -> None:
    """Have a call to Slack fail with this code."""
    with pytest.raises(SlackRetryableError), metrics.slack_call("chat.postMessage"):
        raise SlackRetryableError(code, 3)


def families() -> Mapping[str, Metric]:
    """The metrics by their name as Prometheus has it, each with at least one series."""
    failing("ratelimited")
    metrics.FOLLOW_UPS.labels("channel")
    metrics.request_refused("404")
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in metrics.REGISTRY.collect()
    }


FAMILIES = families()
SAMPLES = {sample.name for family in FAMILIES.values() for sample in family.samples}


def rules() -> Iterator[Mapping[str, object]]:
    """The alert rules."""
    for group in YAML(typ="safe").load(ALERTS)["groups"]:
        yield from group["rules"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_metric_is_documented(name: str) -> None:
    """The table in README has a row for each, with its labels."""
    labels = ", ".join(f"`{label}`" for label in FAMILIES[name].samples[0].labels if label != "le")

    assert (f"| `{name}` | {labels} |" if labels else f"| `{name}` | |") in README


def test_no_other_metric_is_documented() -> None:
    """README names only what is exported."""
    assert set(re.findall(r"`(reload_model_\w+)`", README)) == set(FAMILIES)


def test_the_alerts_use_what_is_exported() -> None:
    """An expression with another series, label or bucket would never fire."""
    for rule in rules():
        found = _SERIES.findall(str(rule["expr"]))
        assert found, rule["alert"]
        for name, selector in found:
            family = FAMILIES[name] if name in FAMILIES else FAMILIES[_SUFFIX.sub("", name)]
            assert name in SAMPLES
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selector):
                assert label in {label for sample in family.samples for label in sample.labels}
                assert label != "le" or value in {sample.labels.get("le") for sample in family.samples}


@pytest.mark.parametrize("name", re.findall(r"reload_model_\w+", ALERTS))
def test_the_advice_names_what_is_exported(name: str) -> None:
    """What a rule tells people to look at exists, too."""
    assert name in SAMPLES | set(FAMILIES)


def test_the_advice_names_events_that_are_logged() -> None:
    """Somebody who is woken up searches the log for them."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bot").rglob("*.py"))
    advice = " ".join(re.findall(r"the log for ([^.;,]*)", ALERTS))
    events = re.findall(r"[a-z]+_[a-z_]+|undeliverable", advice)

    assert len(events) >= 5
    assert [event for event in events if f'"{event}"' not in sources] == []


def test_each_alert_is_complete() -> None:
    """It has a name of its own, a severity, what it means, and what to do."""
    found = list(rules())

    assert len({rule["alert"] for rule in found}) == len(found) >= 8
    for rule in found:
        labels, notes = rule["labels"], rule["annotations"]
        assert isinstance(labels, dict)
        assert isinstance(notes, dict)
        assert labels["severity"] in ("warning", "critical")
        assert set(notes) == {"summary", "action"}


def test_every_code_of_a_refused_token_has_an_alert() -> None:
    """And none of them is counted as "other"."""
    [expression] = [str(rule["expr"]) for rule in rules() if rule["alert"] == "ReloadModelSlackTokenRefused"]
    for code in TOKEN_FAULTS:
        failing(code)
        assert f'code="{code}"' in metrics.text().decode()
        assert code in expression


def test_series_with_known_labels_exist_from_the_start() -> None:
    """Prometheus sees an increase only of a series that it has seen before."""
    text = metrics.text().decode()

    for kind in JobKind:
        for name in ("jobs_claimed_total", "job_retries_total", "job_crashes_total", "jobs_running"):
            assert f'reload_model_{name}{{kind="{kind.value}"}}' in text
    for failure in Failure:
        assert f'reload_model_reloads_total{{result="{failure.value}"}}' in text
        assert f'reload_model_modelslab_errors_total{{failure="{failure.value}"}}' in text


@pytest.mark.parametrize("code", ["x" * 61, "a code", "xoxb-1", "0123456789abcdef0123456789abcdef"])
def test_a_code_that_is_no_word_is_counted_as_other(code: str) -> None:
    """A label must not hold whatever Slack says."""
    failing(code)

    assert code not in metrics.text().decode()
    assert 'code="other"' in metrics.text().decode()


def test_the_number_of_codes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus keeps every series that it has ever seen; codes seen before are still counted."""
    monkeypatch.setattr("bot.ops.metrics._codes", {f"code_{number:03}" for number in range(100)})
    failing("one_more")
    failing("code_042")

    assert "one_more" not in metrics.text().decode()
    assert 'code="code_042"' in metrics.text().decode()
