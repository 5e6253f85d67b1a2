"""What the operator reads at /metrics of a bot that runs, after something has happened to it."""

import math
import re
import socket

import pytest

from bot.errors import CannotStart, DatabaseUnavailable, LeaseLost
from bot.ops.metrics import COUNTERS, GAUGES, HISTOGRAMS
from bot.sandbox.modelslab import ACCEPTED, error
from tests.answers import Hang, Json, RateLimited
from tests.metrics.conftest import Operator
from tests.scenarios.house import ADA, BEN, EVE, MODELS, House, eventually_answered

one_mode = pytest.mark.parametrize("mode", ["socket"])


async def test_the_operators_port_takes_all_that_is_the_operators(operator: Operator) -> None:
    """Metrics and health are on ADMIN_PORT; the public port has none of them, in either mode."""
    paths = ("/metrics", "/healthz", "/readyz")
    ours = [(await operator.get(path))[0] for path in paths]
    public = [(await operator.get(path, port=operator.house.port))[0] for path in paths]
    events = (await operator.get("/slack/events"))[0]

    assert (ours, public, events) == ([200] * 3, [404] * 3, 404)


async def test_without_the_port_there_are_no_metrics(bot: House) -> None:
    """The public port serves health, as ever, and never metrics."""
    operator = Operator(bot)

    assert (await operator.get("/healthz", port=bot.port))[0] == 200
    assert (await operator.get("/metrics", port=bot.port))[0] == 404


async def test_a_reload_that_goes_well(operator: Operator) -> None:
    """Commands, the call, the follow-up and how late it was are all counted, and nothing stays in hand."""
    house = operator.house
    await house.ask("help")
    await house.ask("sdxl", EVE)
    await house.ask("sdxl", ADA)
    await house.wait_done()
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
    assert found['reload_model_claims_total{step="call"}'] == 1
    assert found["reload_model_loop_lag_seconds_count"] >= 3
    assert 0 <= found["reload_model_loop_still_seconds"] < 5
    assert found["reload_model_reloads_in_flight"] == 0
    assert sum(value for name, value in found.items() if name.startswith("reload_model_build_info{")) == 1


@one_mode
async def test_what_is_in_flight_and_in_hand(operator: Operator) -> None:
    """A reload whose call hangs is in flight, and its step in hand."""
    house = operator.house
    house.modelslab.answer("sdxl", Hang())
    await house.ask("sdxl")
    await house.wait_step("call")
    found = await operator.scrape()

    assert found["reload_model_reloads_in_flight"] == 1
    assert found['reload_model_steps_in_hand{step="call"}'] == 1


@one_mode
async def test_modelslab_that_fails(operator: Operator) -> None:
    """Errors are counted by their class, retries by their step, and what was asked for in patience is kept."""
    house = operator.house
    house.modelslab.answer("sdxl", error(429, "Rate limit exceeded", retry_after=7), error(503, "down"), ACCEPTED)
    house.modelslab.answer("dear", error(402, "Insufficient credits."))
    await house.ask("sdxl")
    await house.ask("dear")
    await house.wait_done(2)
    found = await operator.scrape()

    for failure in ("rate_limit", "down", "credits"):
        assert found[f'reload_model_modelslab_errors_total{{failure="{failure}"}}'] == 1
    assert found['reload_model_retries_total{step="call"}'] == 2
    assert found['reload_model_reloads_total{result="credits"}'] == 1
    assert found['reload_model_rate_limit_wait_seconds_sum{service="modelslab"}'] == 7
    assert found['reload_model_follow_ups_total{via="channel"}'] == 2
    assert found["reload_model_follow_up_late_seconds_count"] == 1


@one_mode
async def test_slack_that_fails(operator: Operator) -> None:
    """Slack's errors are counted by method and code; a code that nobody knows is other, whatever it says."""
    house = operator.house
    house.slack.fail("chat.postMessage", RateLimited(3), times=1)
    await house.ask("sdxl")
    await house.wait_done()
    house.slack.fail("chat.update", "x" * 80)
    await house.ask("other")
    await house.wait_done(2)
    found = await operator.scrape()

    assert found['reload_model_slack_errors_total{code="ratelimited",method="chat.postMessage"}'] == 1
    assert found['reload_model_rate_limit_wait_seconds_sum{service="slack"}'] == 3
    assert found['reload_model_slack_errors_total{code="other",method="chat.update"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("reload_model_retries_total")) == 1


@one_mode
@pytest.mark.parametrize(("spent", "via"), [(False, "response_url"), (True, "direct")])
async def test_the_way_a_follow_up_went(operator: Operator, via: str, *, spent: bool) -> None:
    """Each way in which a follow-up may go is told from the others."""
    house = operator.house
    house.slack.fail("chat.postMessage", "not_in_channel", channel=MODELS)
    if spent:
        house.slack.fail("response_url", Json(404, {"ok": False}))
    await house.ask("sdxl", BEN)
    await house.wait_done()
    found = await operator.scrape()

    assert found[f'reload_model_follow_ups_total{{via="{via}"}}'] == 1
    assert found["reload_model_follow_up_late_seconds_count"] == 1
    assert ('reload_model_slack_errors_total{code="response_url_spent",method="response_url"}' in found) == spent


@one_mode
async def test_what_reaches_nobody(operator: Operator) -> None:
    """A message that no way takes is counted, since somebody has to look."""
    house = operator.house
    house.slack.fail("chat.postMessage", "is_archived")
    house.slack.fail("response_url", Json(404, {"ok": False}))
    await house.ask("sdxl")
    await house.wait_done()

    assert (await operator.scrape())["reload_model_undeliverable_total"] == 1


@one_mode
async def test_errors_of_our_own(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step or a command that ends in one, and a lease that was lost, are counted."""
    house = operator.house
    house.mishaps = True
    faults: list[Exception] = [KeyError("of our own"), LeaseLost()]

    async def broken(_self: object, _model_id: str) -> None:
        if faults:
            raise faults.pop(0)

    async def stumbling(_self: object, _limit: int) -> None:
        raise KeyError("of our own")

    monkeypatch.setattr("bot.modelslab.client.ModelsLab.reload", broken)
    monkeypatch.setattr("bot.storage.store.Store.history", stumbling)
    await house.ask("sdxl")
    await house.ask("history")
    await house.log.wait_for("lease_lost")
    found = await operator.scrape()

    assert found['reload_model_step_crashes_total{step="call"}'] == 1
    assert found["reload_model_leases_lost_total"] == 1
    assert found['reload_model_commands_total{outcome="stumbled"}'] == 1


@one_mode
async def test_the_database_is_away(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """All else is still told; how much is in flight is then nobody's to say."""

    async def away(_self: object, _limit: int) -> None:
        raise DatabaseUnavailable("no answer within 2 s")

    monkeypatch.setattr("bot.storage.store.Store.in_flight", away)

    assert math.isnan((await operator.scrape())["reload_model_reloads_in_flight"])


@one_mode
async def test_a_port_that_is_taken(house: House) -> None:
    """A port for the operator that cannot be had ends the start, with the setting named."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(CannotStart, match=r"ADMIN_PORT: cannot listen on \d+ .* give a free one"),
    ):
        await house.open(ADMIN_PORT=str(taken.getsockname()[1]))


@one_mode
async def test_stopping_closes_the_port(operator: Operator) -> None:
    """After the stop nobody answers there, and a new start has the port again."""
    await operator.house.reopen()

    async def ready() -> bool:
        return (await operator.get("/readyz"))[0] == 200

    assert await eventually_answered(ready)


async def test_what_is_told_is_what_is_declared(operator: Operator) -> None:
    """The scrape names each metric that the code declares, and no person, channel or model."""
    await operator.house.ask("a-model-of-ours", ADA)
    await operator.house.wait_done()
    _, _, text = await operator.get("/metrics")

    assert set(re.findall(r"^# HELP (\w+)", text, re.MULTILINE)) == {*COUNTERS, *HISTOGRAMS, *GAUGES}
    assert [word for word in (ADA, MODELS, "a-model-of-ours") if word in text] == []
