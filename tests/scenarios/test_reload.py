"""A reload, from the command to the follow-up, as the people see it."""

import asyncio
import re
import time
from collections.abc import Sequence

import pytest

from bot.errors import Failure
from bot.sandbox.modelslab import ACCEPTED, SAME_REQUEST, error
from bot.ui.reasons import FAILURES
from tests.answers import AcceptThenReset, Answer, Gateway, Held, Json, Raw, Reset
from tests.scenarios.scenario import ADA, BEN, CEM, FAILED, MODELS, OPS, READY, Scenario, both_modes, labels, mentioned
from tests.times import set_timing

DATE = r"<!date\^\d+\^\{time\}\|\d\d:\d\d UTC>"
MAYBE = "may already be reloading"


@both_modes
async def test_a_command_is_a_row_an_ack_and_one_call(bot: Scenario) -> None:
    """The follow-up comes when the model should be ready, counted from ModelsLab's acceptance."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)

    ack = await bot.ask("sdxl")

    assert re.fullmatch(rf"Reloading `sdxl`\. I'll ping you here around {DATE}\.", ack.text)
    assert bot.reloads == [("sdxl", "requested", None)]
    accepted_at = time.time()
    held.set()
    await bot.wait_done()
    assert [{"key": bot.modelslab.key, "model_id": "sdxl"}] == [call.body for call in bot.modelslab.calls]
    assert bot.said(READY)[0].at - accepted_at >= 0.2


@both_modes
async def test_the_channel_sees_a_status_and_a_follow_up(slow: Scenario) -> None:
    """A broadcast reply, which mentions who asked. Then the status says that the reload is over, and never "now"."""
    await slow.ask("sdxl")
    status = await slow.wait_said("is reloading")
    assert labels(status) == ["Notify me too"]
    await slow.finish_reloads()

    status, follow_up = slow.said()
    assert re.fullmatch(rf"<@{ADA}> is reloading `sdxl` · ready around {DATE} \(1 min left\)", status.edits[0])
    assert f"<@{ADA}> `sdxl` should be ready now." == follow_up.text
    assert (status.ts, True, "api") == (follow_up.thread_ts, follow_up.broadcast, follow_up.via)
    assert (status.channel, follow_up.channel) == (MODELS, MODELS)
    assert re.fullmatch(rf"✓ `sdxl` · should be ready since {DATE} · requested by <@{ADA}>", status.text)
    assert (labels(status), labels(follow_up)) == ([], ["Remind me before it's unloaded"])
    methods = [call.method for call in slow.slack.calls if call.method.startswith("chat.")]
    assert methods == ["chat.postMessage", "chat.postMessage", "chat.update"]

    slow.sql("UPDATE reload_model_reloads SET ready_at = ready_at - 3600")
    slow.sql("UPDATE reload_model_jobs SET due_at = 0")
    slow.worker.wake()
    await slow.slack.wait_until(lambda: labels(status) == ["Reload again"])
    await slow.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")
    assert status.text.startswith("✓ `sdxl`")


@both_modes
async def test_people_join_a_reload(slow: Scenario) -> None:
    """Before its acceptance or after. A channel that is new to the reload has its own messages, and names no one."""
    held = asyncio.Event()
    slow.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await slow.ask("sdxl", ADA, MODELS)
    here = await slow.ask("sdxl", BEN, MODELS)
    held.set()
    await slow.wait_said("is reloading", channel=MODELS)
    there = await slow.ask("sdxl", CEM, OPS)
    again = await slow.ask("sdxl", ADA, OPS)
    await slow.finish_reloads()

    assert here.text == f"<@{ADA}> is already reloading `sdxl`. I'll ping you here when it should be ready."
    assert "A colleague is already reloading `sdxl`." in there.text
    assert "You're already on the list for `sdxl`" in again.text
    assert [mentioned(message.text) for message in slow.said(READY, channel=MODELS)] == [[ADA, BEN]]
    assert [mentioned(message.text) for message in slow.said(READY, channel=OPS)] == [[CEM, ADA]]
    assert f"<@{CEM}> is waiting for `sdxl`" in slow.said(channel=OPS)[0].edits[0]
    assert len(slow.modelslab.calls) == 1
    assert len(slow.said()) == 4


@both_modes
async def test_the_same_invocation_twice_is_one(slow: Scenario) -> None:
    """It is answered the same. Another person, model or place with its trigger_id, as from a proxy, is another one."""
    first = await slow.ask("sdxl")
    same = {"trigger_id": first.trigger_id, "response_url": first.response_url}
    second = await slow.ask("sdxl", **same)
    await slow.finish_reloads()
    third = await slow.ask("sdxl", **same)

    assert first.text.startswith("Reloading `sdxl`. I'll ping you here around")
    assert second.text.partition("<!date^")[0] == first.text.partition("<!date^")[0]
    assert third.text.startswith("Reloading `sdxl`")
    assert [record["outcome"] for record in slow.log.of("command")] == ["requested", "repeated", "repeated"]
    assert len(slow.modelslab.calls) == 1
    assert [mentioned(message.text) for message in slow.said(READY)] == [[ADA]]
    for user, channel in ((BEN, MODELS), (ADA, MODELS), (ADA, OPS)):
        await slow.ask("flux", user, channel, **same)
    await slow.modelslab.wait_for_calls(2)
    assert [call.model_id for call in slow.modelslab.calls] == ["sdxl", "flux"]
    asked = "SELECT user_id, channel_id FROM reload_model_subscribers ORDER BY id"
    assert slow.sql(asked) == [(ADA, MODELS), (BEN, MODELS), (ADA, MODELS), (ADA, OPS)]


async def test_a_model_that_is_loaded_already_is_told_as_that(slow: Scenario) -> None:
    """In ModelsLab's words. The follow-up comes as for an acceptance."""
    slow.modelslab.answer("sdxl", error(200, "Model already loaded."))
    await slow.ask("sdxl")
    await slow.wait_said("is reloading `sdxl`", "· ModelsLab says `Model already loaded.`")
    await slow.pass_reloads()
    await slow.wait_said(READY)


async def test_what_a_faulty_gateway_adds_is_ignored(scenario: Scenario) -> None:
    """Bytes that come late are no answer to the next call, and no cookie is sent back."""
    gateway = Gateway()
    for model in ("sdxl", "flux"):
        scenario.modelslab.answer(model, gateway)
    await scenario.open(MODELSLAB_URL=scenario.modelslab.url.replace("127.0.0.1", "localhost"))
    await scenario.ask("sdxl")
    await asyncio.wait_for(gateway.sent_again.wait(), 30.0)
    await scenario.wait_done()
    await scenario.ask("flux")
    await scenario.wait_done(2)

    assert gateway.cookies == ["", ""]


async def test_more_people_than_one_message_mentions(slow: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others get a DM, and nobody is notified twice."""
    monkeypatch.setattr("bot.ui.messages.MENTIONS_LIMIT", 2)
    for person in (ADA, BEN, CEM):
        await slow.ask("sdxl", person)
    await slow.finish_reloads()

    told = [(message.via, mentioned(message.text)) for message in slow.said(READY)]
    assert told == [("api", [ADA, BEN]), ("dm", [CEM])]


async def test_a_refusal_is_told_to_everyone(bot: Scenario) -> None:
    """If ModelsLab refuses, everybody reads in their own channel why, in its own words, and what to do."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held, error(400, "no <!channel> & `code`\x1b[31m\u202e")))
    await bot.ask("sdxl", ADA, MODELS)
    await bot.ask("sdxl", BEN, OPS)
    await bot.ask("sdxl", CEM, OPS)
    held.set()
    await bot.wait_done()

    (here,), (there,) = bot.said(channel=MODELS), bot.said(channel=OPS)
    why, fix = FAILURES[Failure.REFUSED].why, FAILURES[Failure.REFUSED].fix
    assert here.text.startswith(f"<@{ADA}> `sdxl` was not reloaded: {why}. {fix}")
    assert there.text.startswith(f"<@{BEN}> <@{CEM}> `sdxl` was not reloaded: {why}")
    assert "no &lt;!channel&gt; &amp; \u02cbcode\u02cb�[31m�" in here.text
    assert MAYBE not in here.text
    assert bot.reloads == [("sdxl", "done", "refused")]


async def test_a_rate_limit_is_waited_out(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever form ModelsLab's rate limit takes, the bot waits as long as that asks for, and asks again."""
    monkeypatch.setattr("bot.modelslab.client.RATE_LIMIT_WAIT", 1.0)
    limits: dict[str, Answer] = {
        "body": error(429, "Rate limit exceeded. Maximum 5 queued requests allowed.", retry_after=1),
        "header": Json(429, {"status": "error", "message": "Too many requests"}, {"Retry-After": "1"}),
        "neither": SAME_REQUEST,
    }
    for model, answer in limits.items():
        bot.modelslab.answer(model, answer, ACCEPTED)
        await bot.ask(model)
    await bot.wait_done(3)

    for model in limits:
        first, second = (call.at for call in bot.modelslab.calls if call.model_id == model)
        assert second - first >= 1.0
        assert len(bot.said(READY, f"`{model}`")) == 1
    assert bot.said(FAILED) == []


async def test_a_modelslab_that_fails_is_asked_again(bot: Scenario) -> None:
    """After a server error, a broken connection, and a time when it was down. Nobody hears of what soon passes."""
    set_timing(trouble_after=600.0)
    await bot.reopen()
    faults: list[Answer] = [error(500, "Internal server error."), Raw(502, b"<h1>Oops</h1>"), Reset()]
    for number, fault in enumerate(faults):
        bot.modelslab.answer(f"model-{number}", fault, fault, ACCEPTED)
        await bot.ask(f"model-{number}")
    await bot.wait_done(len(faults))
    assert len(bot.modelslab.calls) == 3 * len(faults)

    await bot.modelslab.stop()
    await bot.ask("sdxl")
    await bot.log.wait_for("job_failed", 2 * len(faults) + 2)
    await bot.modelslab.start()
    await bot.wait_done(len(faults) + 1)
    assert len(bot.ready()) == len(faults) + 1
    assert bot.said(FAILED) == []
    assert "I'll keep trying" not in str(bot.slack.messages)
    failed = bot.log.of("job_failed")[-1]
    assert (failed["said"], failed["host"]) == ("no connection", bot.modelslab.url.split("/")[2])


async def test_a_reload_is_given_up_after_ten_minutes(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten minutes the bot gives up and says so; where a request got no clear answer, it says that too."""
    set_timing(call_give_up=0.2)
    monkeypatch.setattr("bot.modelslab.client.RATE_LIMIT_WAIT", 0.05)
    await scenario.open()
    given_up: dict[str, tuple[Answer, Failure, bool]] = {
        "error": (error(500, "Internal server error. Please try again."), Failure.DOWN, False),
        "gateway": (Raw(502, b""), Failure.DOWN, True),
        "reset": (Reset(), Failure.NO_ANSWER, True),
        "limit": (SAME_REQUEST, Failure.RATE_LIMIT, False),
    }
    for model, (answer, _, _) in given_up.items():
        scenario.modelslab.answer(model, answer)
        await scenario.ask(model)
    await scenario.wait_done(len(given_up))

    for model, (_, failure, maybe) in given_up.items():
        (told,) = scenario.said(f"`{model}` was not reloaded")
        assert FAILURES[failure].why in told.text
        assert ("https://modelslab.com/status" in told.text) == (failure is not Failure.RATE_LIMIT)
        assert maybe == (MAYBE in told.text)
    assert {record["level"] for record in scenario.log.of("reload_failed")} == {"warning"}
    assert not [record for record in scenario.log.records if record["level"] == "error"]


@pytest.mark.parametrize(
    ("answers", "failure"),
    [
        ((AcceptThenReset(), error(400, "This model is too large")), Failure.REFUSED),
        ((Raw(200, b"<html>"),), Failure.NO_SENSE),
    ],
    ids=["refused after no answer", "unclear at once"],
)
async def test_a_refusal_after_an_unknown_outcome_says_so(
    bot: Scenario, answers: Sequence[Answer], failure: Failure
) -> None:
    """If one request got no answer, or an unclear one, the model may already be reloading."""
    bot.modelslab.answer("sdxl", *answers)
    await bot.ask("sdxl")
    told = await bot.wait_said(FAILED)

    why = FAILURES[failure].why
    assert f"{why}. At least one request got no clear answer, so the model may already be reloading" in told.text
    assert len(bot.modelslab.calls) == len(answers)


async def test_only_so_many_calls_are_made_at_once(slow: Scenario) -> None:
    """At most MODELSLAB_CONCURRENCY, and all in the end. What is due is posted while no more calls can be made."""
    await slow.reopen(MODELSLAB_CONCURRENCY="2")
    await slow.ask("quick")
    await slow.wait_said("is reloading `quick`")
    held = asyncio.Event()
    models = [f"model-{number}" for number in range(6)]
    for model in models:
        slow.modelslab.answer(model, Held(held), ACCEPTED)
        await slow.ask(model)
    await slow.modelslab.wait_for_calls(3)
    slow.end_reloads()
    await slow.wait_said("`quick`", READY)
    held.set()
    await slow.finish_reloads(7)

    assert slow.modelslab.in_flight_max == 2
    assert sorted(call.model_id for call in slow.modelslab.calls) == sorted(slow.ready()) == [*models, "quick"]


async def test_old_history_is_forgotten(bot: Scenario) -> None:
    """What ended longer ago than HISTORY_DAYS is deleted when the bot starts."""
    await bot.ask("old")
    await bot.ask("new")
    await bot.wait_done(2)
    await bot.shut()
    bot.sql("DELETE FROM reload_model_jobs")
    bot.sql("UPDATE reload_model_reloads SET ended_at = ended_at - 91 * 86400 WHERE model_id = 'old'")
    await bot.open()

    assert (await bot.log.wait_for("history_pruned"))["reloads"] == 1
    assert bot.reloads == [("new", "done", None)]
