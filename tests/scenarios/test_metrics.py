"""What Prometheus reads at /metrics of a bot that runs, after something has happened to it."""

import asyncio
import math
import re
import socket

import aiohttp
import pytest

from bot.errors import CannotStart, DatabaseUnavailable
from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Hang, Json, RateLimited
from tests.scenarios.scenario import ADA, BEN, EVE, MODELS, Scenario, eventually_answered
from tests.secrecy import remember, scan

one_mode = pytest.mark.parametrize("mode", ["socket"])


class Operator:
    """Reads the metrics of a scenario on a port for operators."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._before: dict[str, float] = {}

    async def open(self) -> None:
        """Start the bot with that port. What is counted belongs to the process, which has run other tests before."""
        await self.scenario.open(ADMIN_PORT=str(self.port))
        self._before = await self._scrape()

    async def get(self, path: str, *, port: int | None = None) -> tuple[int, str, str]:
        """The status, content type and text that a path answers, on the operator's port or on another."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{port or self.port}{path}") as response:
            return response.status, response.headers["Content-Type"], await response.text()

    async def scrape(self) -> dict[str, float]:
        """Every sample, as Prometheus names it, less what it was at the start."""
        return {name: value - self._before.get(name, 0.0) for name, value in (await self._scrape()).items()}

    async def _scrape(self) -> dict[str, float]:
        _, _, text = await self.get("/metrics")
        remember(self.scenario.secrets)
        scan("the metrics", text)
        samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@pytest.fixture
async def operator(scenario: Scenario) -> Operator:
    """A scenario in which the bot runs, and its operator."""
    operator = Operator(scenario)
    await operator.open()
    return operator


async def test_the_operators_port_takes_all_that_is_the_operators(operator: Operator) -> None:
    """Metrics and health are on ADMIN_PORT. The public port has none of them, in either mode."""
    paths = ("/metrics", "/healthz", "/readyz")
    ours = [(await operator.get(path))[0] for path in paths]
    public = [(await operator.get(path, port=operator.scenario.port))[0] for path in paths]
    events = (await operator.get("/slack/events"))[0]

    assert (ours, public, events) == ([200] * 3, [404] * 3, 404)


async def test_without_the_port_there_are_no_metrics(bot: Scenario) -> None:
    """The public port serves health, and never metrics."""
    operator = Operator(bot)

    assert (await operator.get("/healthz", port=bot.port))[0] == 200
    assert (await operator.get("/metrics", port=bot.port))[0] == 404


async def test_a_reload_that_goes_well(operator: Operator) -> None:
    """Commands, the call, the follow-up and how late it was are all counted."""
    scenario = operator.scenario
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
    assert abs(found["reload_model_worker_idle_seconds"]) < 5
    assert found["reload_model_reloads_in_flight"] == 0
    assert re.search(r'^reload_model_build_info\{python="3\.\d+\.\d+",version="[\d.]+"\} 1\.0$', text, re.MULTILINE)


@one_mode
async def test_what_is_in_flight_and_running(operator: Operator) -> None:
    """A reload whose call hangs is in flight, and its job is running."""
    scenario = operator.scenario
    scenario.modelslab.answer("sdxl", Hang())
    await scenario.ask("sdxl")
    await scenario.wait_job("call")
    found = await operator.scrape()

    assert found["reload_model_reloads_in_flight"] == 1
    assert found['reload_model_jobs_running{kind="call"}'] == 1


@one_mode
async def test_modelslab_that_fails(operator: Operator) -> None:
    """Errors are counted by reason, retries by kind of job, and pauses by their length."""
    scenario = operator.scenario
    scenario.modelslab.answer("sdxl", error(429, "Rate limit exceeded", retry_after=7), error(503, "down"), ACCEPTED)
    scenario.modelslab.answer("dear", error(402, "Insufficient credits."))
    await scenario.ask("sdxl")
    await scenario.ask("dear")
    await scenario.wait_done(2)
    found = await operator.scrape()

    for failure in ("rate_limit", "down", "credits"):
        assert found[f'reload_model_modelslab_errors_total{{failure="{failure}"}}'] == 1
    assert found['reload_model_job_retries_total{kind="call"}'] == 2
    assert found['reload_model_reloads_total{result="credits"}'] == 1
    assert found['reload_model_rate_limit_wait_seconds_sum{service="modelslab"}'] == 7
    assert found['reload_model_follow_ups_total{via="channel"}'] == 2
    assert found["reload_model_follow_up_late_seconds_count"] == 1


@one_mode
async def test_slack_that_fails(operator: Operator) -> None:
    """Slack's errors are counted by method and code. An unknown code is "other", whatever it says."""
    scenario = operator.scenario
    scenario.slack.fail("chat.postMessage", RateLimited(1), times=2)  # the status message, and the follow-up
    await scenario.ask("sdxl")
    await scenario.wait_done()
    scenario.slack.fail("chat.update", "x" * 80, times=1)
    await scenario.ask("other")
    await scenario.wait_done(2)
    found = await operator.scrape()

    assert found['reload_model_slack_errors_total{code="ratelimited",method="chat.postMessage"}'] == 2
    assert found['reload_model_rate_limit_wait_seconds_sum{service="slack"}'] == 2
    assert found['reload_model_slack_errors_total{code="other",method="chat.update"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("reload_model_job_retries_total")) == 2


@one_mode
@pytest.mark.parametrize(("spent", "via"), [(False, "response_url"), (True, "dm")])
async def test_the_way_a_follow_up_went(operator: Operator, via: str, *, spent: bool) -> None:
    """Follow-ups are counted by how they went."""
    scenario = operator.scenario
    scenario.slack.fail("chat.postMessage", "not_in_channel", channel=MODELS)
    if spent:
        scenario.slack.fail("response_url", Json(404, {"ok": False}))
    await scenario.ask("sdxl", BEN)
    await scenario.wait_done()
    found = await operator.scrape()

    assert found[f'reload_model_follow_ups_total{{via="{via}"}}'] == 1
    assert found["reload_model_follow_up_late_seconds_count"] == 1
    failed = found.get('reload_model_slack_errors_total{code="response_url_spent",method="response_url"}', 0)
    assert (failed > 0) == spent


@one_mode
async def test_what_reaches_nobody(operator: Operator) -> None:
    """A follow-up that can't be delivered in any way is counted: somebody has to look."""
    scenario = operator.scenario
    scenario.slack.fail("chat.postMessage", "is_archived")
    scenario.slack.fail("response_url", Json(404, {"ok": False}))
    await scenario.ask("sdxl")
    await scenario.wait_done()

    assert (await operator.scrape())["reload_model_undeliverable_total"] == 1


@one_mode
async def test_errors_of_our_own(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs and commands that end in an internal error are counted, and so are lost leases."""
    scenario = operator.scenario
    scenario.mishaps = True
    faults = [KeyError("of our own")]
    running, held = asyncio.Event(), asyncio.Event()

    async def broken(_self: object, _model_id: str) -> None:
        if faults:
            raise faults.pop(0)
        running.set()
        await held.wait()

    def stumbling(*_: object) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    monkeypatch.setattr("bot.storage.history.recent", stumbling)
    await scenario.ask("sdxl")
    await scenario.ask("history")
    await running.wait()
    scenario.sql("UPDATE reload_model_jobs SET lease_owner = 'another', fence = fence + 1, due_at = due_at + 3600")
    held.set()
    await scenario.log.wait_for("lease_lost")
    found = await operator.scrape()

    assert found['reload_model_job_crashes_total{kind="call"}'] == 1
    assert found["reload_model_leases_lost_total"] == 1
    assert found['reload_model_commands_total{outcome="internal_error"}'] == 1


@one_mode
async def test_the_database_is_away(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is still there; how much is in flight is unknown then."""

    def away(*_: object) -> None:
        raise DatabaseUnavailable("no answer within 2 s")

    monkeypatch.setattr("bot.storage.history.running", away)

    assert math.isnan((await operator.scrape())["reload_model_reloads_in_flight"])


@one_mode
async def test_a_port_that_is_taken(scenario: Scenario) -> None:
    """The start ends, and names the setting."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CannotStart, match=r"ADMIN_PORT: can't listen on port \d+ .* use a free port"),
    ):
        await scenario.open(ADMIN_PORT=str(taken.getsockname()[1]))


@one_mode
async def test_stopping_closes_the_port(operator: Operator) -> None:
    """A new start can use it again."""
    await operator.scenario.reopen()

    async def ready() -> bool:
        return (await operator.get("/readyz"))[0] == 200

    assert await eventually_answered(ready)


async def test_labels_name_no_person_channel_or_model(operator: Operator) -> None:
    """Each label has a small, known set of values."""
    await operator.scenario.ask("a-model-of-ours", ADA)
    await operator.scenario.wait_done()
    _, _, text = await operator.get("/metrics")

    assert [word for word in (ADA, MODELS, "a-model-of-ours") if word in text] == []
