"""README and the alert rules speak of the metrics that there are."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bot.errors import SettingsError
from bot.ops.metrics import CODES, COUNTERS, GAUGES, HISTOGRAMS, Metrics
from bot.settings import load
from bot.slack.client import TOKEN_FAULTS

ROOT = Path(__file__).parent.parent.parent
METRICS = {**COUNTERS, **HISTOGRAMS, **GAUGES}

_SERIES = re.compile(r"(reload_model_\w+)(?:\{([^}]*)\})?")


def series() -> set[str]:
    """Every name that an expression may use."""
    parts = {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}
    return {*COUNTERS, *GAUGES, *parts}


def rules() -> Iterator[Mapping[str, object]]:
    """The alert rules."""
    for group in YAML(typ="safe").load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]:
        yield from group["rules"]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_documented(name: str) -> None:
    """The table in README has a row for each, with its labels."""
    labels = ", ".join(f"`{label}`" for label in METRICS[name].labels)
    row = f"| `{name}` | {labels} |" if labels else f"| `{name}` | |"

    assert row in (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_metric_is_documented_that_is_not_there() -> None:
    """Nor does README promise any other."""
    documented = re.findall(r"`(reload_model_\w+)`", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert set(documented) == set(METRICS)


def test_the_alerts_ask_for_what_is_exported() -> None:
    """Each expression names series, labels and buckets that there are: one that does not would never fire."""
    for rule in rules():
        found = _SERIES.findall(str(rule["expr"]))
        assert found, rule["alert"]
        for name, selector in found:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            metric = METRICS.get(base) or METRICS[name]
            assert name in series()
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selector):
                if label == "le":
                    assert float(value) in metric.buckets
                else:
                    assert label in metric.labels


@pytest.mark.parametrize("name", re.findall(r"reload_model_\w+", (ROOT / "deploy/alerts.yaml").read_text("utf-8")))
def test_the_advice_names_what_is_exported(name: str) -> None:
    """What a rule tells people to look at is there, too."""
    assert name in series() | set(METRICS)


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


def test_every_code_of_a_refused_token_is_told() -> None:
    """The alert for it depends on it."""
    [expression] = [str(rule["expr"]) for rule in rules() if rule["alert"] == "ReloadModelSlackTokenRefused"]

    assert TOKEN_FAULTS <= CODES
    assert [code for code in TOKEN_FAULTS if code not in expression] == []


def test_what_nobody_reads_is_not_counted() -> None:
    """Without a reader there is nothing to tell."""
    metrics = Metrics()
    metrics.command("requested")

    assert metrics.text(in_flight=1, still=1) == b""


def test_nobody_pays_for_metrics_that_are_not_read() -> None:
    """The library is not imported by a bot without a port for the operator."""
    program = "import sys, bot.app; sys.exit('prometheus_client' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0  # noqa: S603


@pytest.mark.parametrize(("port", "mend"), [("3000", "is the same as PORT"), ("0", "is '0': give a whole number")])
def test_a_port_that_will_not_do(port: str, mend: str) -> None:
    """The operator's port is one of its own."""
    with pytest.raises(SettingsError, match=rf"ADMIN_PORT {mend}"):
        load({"ADMIN_PORT": port})


@pytest.mark.parametrize(
    ("env", "port"),
    [({}, 3000), ({"PORT": "8080"}, 8080), ({"PORT": "8080", "ADMIN_PORT": "9464"}, 9464), ({"ADMIN_PORT": ""}, 3000)],
)
@pytest.mark.parametrize("document", ["Dockerfile", "compose.yaml"])
def test_the_container_asks_the_port_that_has_health(document: str, env: Mapping[str, str], port: int) -> None:
    """With ADMIN_PORT the health check asks there, else at PORT."""
    text = (ROOT / document).read_text(encoding="utf-8")
    [asked] = re.findall(r"HTTPConnection\('127.0.0.1', (int\(.*\)), timeout=4\)", text)
    unset = {name: value for name, value in os.environ.items() if name not in ("PORT", "ADMIN_PORT")}
    program = f"import os; print({asked})"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={**unset, **env}
    )

    assert int(done.stdout) == port
