"""What Prometheus reads at /metrics of a bot that runs, after something has happened to it."""

import asyncio
import math
import re
from unittest.mock import Mock

import aiohttp
import pytest

from bot.errors import DatabaseUnavailable
from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Hang, RateLimited
from tests.bench.processes import free_port
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, MODELS, OPS, Scenario, both_modes
from tests.secrecy import scan


class Operator:
    """Reads the metrics of a scenario on a port for operators."""

    def __init__(self) -> None:
        self.port = free_port()
        self.before: dict[str, float] = {}
        """What is counted belongs to the process, which has run other tests before."""

    async def get(self, path: str, *, port: int | None = None) -> tuple[int, str, str]:
        """The status, content type and text that a path answers, on the operator's port or on another."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{port or self.port}{path}") as response:
            return response.status, response.headers["Content-Type"], await response.text()

    async def scrape(self) -> dict[str, float]:
        """Every sample, as Prometheus names it, less what it was before."""
        _, _, text = await self.get("/metrics")
        scan("the metrics", text)
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) - self.before.get(name, 0.0) for name, _, value in samples}


@pytest.fixture
async def operator(scenario: Scenario) -> Operator:
    """The operator of a bot that runs."""
    operator = Operator()
    await scenario.open(ADMIN_PORT=str(operator.port))
    operator.before = await operator.scrape()
    return operator


@both_modes
async def test_the_operators_port_takes_all_that_is_the_operators(scenario: Scenario, operator: Operator) -> None:
    """Metrics and health are on ADMIN_PORT. The public port has none of them. A new start can use both again."""
    await scenario.reopen()
    paths = ("/metrics", "/healthz", "/readyz")
    ours = [(await operator.get(path))[0] for path in paths]
    public = [(await operator.get(path, port=scenario.port))[0] for path in paths]
    events = (await operator.get("/slack/events"))[0]
    assert (ours, public, events) == ([200] * 3, [404] * 3, 404)

    await scenario.reopen(ADMIN_PORT="")
    without = [(await operator.get(path, port=scenario.port))[0] for path in paths]
    assert without == [404, 200, 200]


async def test_a_reload_that_goes_well_is_counted(scenario: Scenario, operator: Operator) -> None:
    """Commands, the call, the follow-up and how late it was are all counted. No label has a person or a model."""
    await scenario.ask("help")
    await scenario.ask("sdxl", EVE)
    await scenario.ask("sdxl", ADA)
    await scenario.wait_done()
    status, content_type, text = await operator.get("/metrics")
    found = await operator.scrape()

    assert (status, content_type) == (200, "text/plain; version=1.0.0; charset=utf-8")
    assert "# TYPE reload_model_follow_up_late_seconds histogram" in text
    for outcome in ("help", "not_allowed", "requested"):
        assert found[f'reload_model_commands_total{{outcome="{outcome}"}}'] == 1
    assert found['reload_model_reloads_total{result="accepted"}'] == 1
    assert found["reload_model_modelslab_seconds_count"] == 1
    assert found['reload_model_follow_ups_total{via="channel"}'] == 1
    assert found["reload_model_follow_up_late_seconds_count"] == 1
    assert found['reload_model_jobs_claimed_total{kind="call"}'] == 1
    assert found["reload_model_worker_lag_seconds_count"] >= 1
    assert abs(found["reload_model_worker_idle_seconds"]) < 15
    assert found["reload_model_reloads_in_flight"] == 0
    assert re.search(r'^reload_model_build_info\{python="3\.\d+\.\d+",version="[\d.]+"\} 1\.0$', text, re.MULTILINE)
    assert [word for word in (ADA, EVE, MODELS, "sdxl") if word in text] == []


async def test_what_is_in_flight_and_running_is_counted(
    scenario: Scenario, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload whose call hangs is in flight, and its job is running. Without the database it is unknown how many."""
    away = Mock(side_effect=DatabaseUnavailable("no answer within 2 s"))
    scenario.modelslab.answer("sdxl", Hang())
    await scenario.ask("sdxl")
    await scenario.wait_job("call")
    found = await operator.scrape()

    assert found["reload_model_reloads_in_flight"] == 1
    assert found['reload_model_jobs_running{kind="call"}'] == 1
    monkeypatch.setattr("bot.storage.history.in_flight_count", away)
    assert math.isnan((await operator.scrape())["reload_model_reloads_in_flight"])


async def test_the_services_errors_are_counted(scenario: Scenario, operator: Operator) -> None:
    """ModelsLab's by reason, Slack's by method and code, or as "other"; retries by kind of job, pauses by length."""
    limited = error(429, "Rate limit exceeded", retry_after=0.125)
    scenario.modelslab.answer("sdxl", limited, error(503, "down"), ACCEPTED)
    scenario.modelslab.answer("dear", error(402, "Insufficient credits."))
    await scenario.ask("sdxl dear")
    await scenario.wait_done(2)
    found = await operator.scrape()

    for failure in ("rate_limit", "down", "credits"):
        assert found[f'reload_model_modelslab_errors_total{{failure="{failure}"}}'] == 1
    assert found['reload_model_job_retries_total{kind="call"}'] == 2
    assert found['reload_model_reloads_total{result="credits"}'] == 1
    assert found['reload_model_rate_limit_wait_seconds_sum{service="modelslab"}'] == 0.125
    assert found['reload_model_follow_ups_total{via="channel"}'] == 2
    assert found["reload_model_follow_up_late_seconds_count"] == 1
    await scenario.reopen(RELOAD_SECONDS="60")
    scenario.slack.fail("chat.postMessage", RateLimited(1), times=2)
    scenario.slack.fail("chat.update", "x" * 80, times=1)
    await scenario.ask("flux")
    await scenario.wait_said("is reloading `flux`")
    await scenario.finish_reloads(3)
    found = await operator.scrape()

    assert found['reload_model_slack_errors_total{code="ratelimited",method="chat.postMessage"}'] == 2
    assert found['reload_model_rate_limit_wait_seconds_sum{service="slack"}'] == 2
    assert found['reload_model_slack_errors_total{code="other",method="chat.update"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("reload_model_job_retries_total")) == 5


async def test_the_way_of_a_follow_up_is_counted(scenario: Scenario, operator: Operator) -> None:
    """It is counted, and so is one that can't be delivered in any way: somebody has to look."""
    scenario.slack.fail("chat.postMessage", "not_in_channel", channel=MODELS)
    scenario.slack.fail("chat.postMessage", "not_in_channel", channel=OPS)
    scenario.slack.fail("response_url", "used_url", channel=OPS)
    scenario.slack.fail("chat.postMessage", "messages_tab_disabled", channel=scenario.slack.dm(CEM))
    for model, user, channel in (("one", ADA, MODELS), ("two", BEN, OPS), ("three", CEM, OPS)):
        await scenario.ask(model, user, channel)
    await scenario.wait_done(3)
    found = await operator.scrape()

    assert found['reload_model_follow_ups_total{via="response_url"}'] == 1
    assert found['reload_model_follow_ups_total{via="dm"}'] == 1
    assert found["reload_model_undeliverable_total"] == 1
    assert found["reload_model_follow_up_late_seconds_count"] == 2
    assert found['reload_model_slack_errors_total{code="response_url_spent",method="response_url"}'] > 0


async def test_internal_errors_are_counted(
    scenario: Scenario, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs and commands that end in one, and lost leases. The error of a lost lease is counted, and not recorded."""
    scenario.internal_errors = True
    running, taken = asyncio.Event(), asyncio.Event()

    async def broken(*_: object) -> None:
        if scenario.log.of("job_crashed"):
            running.set()
            await taken.wait()
        raise KeyError("of our own")

    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    monkeypatch.setattr("bot.storage.history.recent", Mock(side_effect=KeyError("of our own")))
    await scenario.ask("sdxl")
    await scenario.ask("history")
    await running.wait()
    scenario.lose_lease()
    taken.set()
    await scenario.log.wait_for("lease_lost")
    found = await operator.scrape()

    assert scenario.sql("SELECT lease_owner, crashes FROM reload_model_jobs WHERE kind = 'call'") == [("another", 1)]
    assert found['reload_model_job_crashes_total{kind="call"}'] == 2
    assert found["reload_model_leases_lost_total"] == 1
    assert found['reload_model_commands_total{outcome="internal_error"}'] == 1
