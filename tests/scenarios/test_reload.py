"""A reload, from the command to the follow-up, as the people see it."""

import asyncio
import re
from collections import Counter

import pytest

from bot.errors import Failure
from bot.sandbox.modelslab import ACCEPTED, SAME_REQUEST, SandboxModelsLab, error
from bot.ui.reasons import FAILURES
from tests.answers import (
    AcceptThenReset,
    Answer,
    Big,
    DeepJson,
    Drip,
    HalfAnswer,
    Hang,
    Held,
    Json,
    Raw,
    Redirect,
    Reset,
)
from tests.scenarios.scenario import ADA, BEN, CEM, FAILED, MODELS, OPS, READY, Later, Scenario, mentioned

one_mode = pytest.mark.parametrize("mode", ["socket"])
"""Where how the command came makes no difference."""

DATE = r"<!date\^\d+\^\{time\}\|\d\d:\d\d UTC>"
MAYBE = "may already be reloading"


async def test_a_command_is_a_row_an_ack_and_one_call(bot: Scenario) -> None:
    """What an allowed person asks for is written down, answered privately, and sent to ModelsLab once."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)

    ack = await bot.ask("sdxl")

    assert re.fullmatch(
        rf"Reloading `sdxl`\. I'll ping you here around {DATE}\.",
        ack.text,
    )
    assert bot.reloads == [("sdxl", "requested", None)]
    held.set()
    await bot.wait_done()
    assert [{"key": bot.modelslab.key, "model_id": "sdxl"}] == [call.body for call in bot.modelslab.calls]


async def test_the_channel_sees_a_status_and_a_follow_up(bot: Scenario) -> None:
    """The status says who reloads what; the follow-up is a broadcast reply to it that mentions who asked."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    await bot.pass_reloads()
    await bot.wait_done()

    status, follow_up = bot.said()
    assert re.fullmatch(
        rf"<@{ADA}> is reloading `sdxl` · ready around {DATE} \(1 min left\)",
        status.edits[0],
    )
    assert f"<@{ADA}> `sdxl` should be ready now." == follow_up.text
    assert (status.ts, True, "api") == (follow_up.thread_ts, follow_up.broadcast, follow_up.via)
    assert (status.channel, follow_up.channel) == (MODELS, MODELS)


@one_mode
async def test_the_status_is_edited_after_the_follow_up(bot: Scenario) -> None:
    """Once the follow-up is out, the status message says that it is over, and still not that anything is ready now."""
    await bot.reopen(RELOAD_SECONDS="60")
    await bot.ask("sdxl")
    await bot.wait_said("is reloading")
    await bot.pass_reloads()
    await bot.wait_done()

    methods = [call.method for call in bot.slack.calls if call.method.startswith("chat.")]
    assert methods == ["chat.postMessage", "chat.postMessage", "chat.update"]
    assert re.fullmatch(rf"✓ `sdxl` · should be ready since {DATE} · requested by <@{ADA}>", bot.said()[0].text)


async def test_the_follow_up_waits_for_the_time_to_pass(bot: Scenario) -> None:
    """The follow-up comes when the model should be ready, counted from ModelsLab's acceptance, and is not late."""
    await bot.ask("sdxl")
    follow_up = await bot.wait_said(READY)

    waited = follow_up.at - bot.modelslab.calls[0].at
    assert 0.2 <= waited < 1.0
    assert "late" not in follow_up.text


async def test_a_second_person_joins(bot: Scenario) -> None:
    """A second person joins the reload in flight and reads who started it. One follow-up mentions both."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl", ADA)
    second = await bot.ask("sdxl", BEN)
    held.set()
    await bot.wait_done()

    assert f"<@{ADA}> is already reloading `sdxl`." in second.text
    assert [mentioned(message.text) for message in bot.said(READY)] == [[ADA, BEN]]
    assert len(bot.modelslab.calls) == 1
    assert len(bot.said()) == 2


@one_mode
async def test_somebody_joins_after_the_acceptance(bot: Scenario) -> None:
    """Who joins while the model is being loaded gets the same follow-up, and a channel new to it its own status."""
    await bot.open_slowly()
    await bot.ask("sdxl", ADA, MODELS)
    await bot.wait_said("is reloading", channel=MODELS)
    here = await bot.ask("sdxl", BEN, MODELS)
    there = await bot.ask("sdxl", CEM, OPS)
    await bot.wait_done()

    assert "already" in here.text
    assert "already" in there.text
    assert [mentioned(message.text) for message in bot.said(READY, channel=MODELS)] == [[ADA, BEN]]
    assert [mentioned(message.text) for message in bot.said(READY, channel=OPS)] == [[CEM]]
    assert f"<@{CEM}> is waiting for `sdxl`" in bot.said(channel=OPS)[0].edits[0]


async def test_a_colleague_in_another_channel_is_not_named(bot: Scenario) -> None:
    """A person who joins from another channel reads of a colleague. Each channel gets one status and one follow-up."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.ask("sdxl", ADA, MODELS)
    joined = await bot.ask("sdxl", BEN, OPS)
    again = await bot.ask("sdxl", ADA, OPS)
    held.set()
    await bot.wait_done()

    assert "A colleague is already reloading `sdxl`." in joined.text
    assert "You're already on the list for `sdxl`" in again.text
    assert [mentioned(message.text) for message in bot.said(READY, channel=MODELS)] == [[ADA]]
    assert [mentioned(message.text) for message in bot.said(READY, channel=OPS)] == [[BEN, ADA]]
    assert (len(bot.said(channel=MODELS)), len(bot.said(channel=OPS))) == (2, 2)
    assert len(bot.modelslab.calls) == 1


async def test_the_same_invocation_twice_is_one(bot: Scenario) -> None:
    """An invocation that Slack delivers again is answered the same, calls nothing again, and is mentioned once."""
    first = await bot.ask("sdxl")
    second = await bot.ask("sdxl", trigger_id=first.trigger_id, response_url=first.response_url)
    await bot.wait_done()
    third = await bot.ask("sdxl", trigger_id=first.trigger_id, response_url=first.response_url)

    assert first.text == second.text
    assert third.text.startswith("Reloading `sdxl`")
    assert len(bot.modelslab.calls) == 1
    assert [mentioned(message.text) for message in bot.said(READY)] == [[ADA]]
    assert bot.sql("SELECT count(*) FROM reload_model_subscribers") == [(1,)]


@one_mode
async def test_two_at_the_same_moment(bot: Scenario) -> None:
    """Of twenty people who ask at the same moment, one starts the reload and all are notified."""
    people = [f"U0P{number}" for number in range(20)]
    await bot.reopen(ALLOWED_USERS=" ".join(people))
    acks = await asyncio.gather(*(bot.ask("sdxl", person) for person in people))
    await bot.wait_done()

    assert sum("already" not in ack.text for ack in acks) == 1
    assert len(bot.modelslab.calls) == 1
    assert sorted(people) == sorted(mentioned(bot.said(READY)[0].text))


@one_mode
async def test_asking_again_after_the_end(bot: Scenario) -> None:
    """After everybody has been notified, the next request starts a reload of its own."""
    await bot.ask("sdxl")
    await bot.wait_done()
    second = await bot.ask("sdxl")
    await bot.wait_done(2)

    assert "Reloading" in second.text
    assert len(bot.modelslab.calls) == 2
    assert len(bot.said(READY)) == 2


@one_mode
async def test_more_people_than_one_message_mentions(bot: Scenario) -> None:
    """One message mentions at most 400 people. The others get a DM, and nobody is notified twice."""
    people = [f"U0P{number}" for number in range(403)]
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Held(held), ACCEPTED)
    await bot.reopen(ALLOWED_USERS="*")
    for begin in range(0, len(people), 31):
        await asyncio.gather(*(bot.ask("sdxl", person) for person in people[begin : begin + 31]))
    held.set()
    await bot.wait_done(within=20)

    here = mentioned(bot.said(READY, channel=MODELS)[0].text)
    in_dms = [message.user for message in bot.said(READY) if message.via == "dm"]
    assert (len(here), len(in_dms)) == (400, 3)
    assert set(people) == {*here, *in_dms}


# --- ModelsLab refuses ----------------------------------------------------------------------------------


@one_mode
@pytest.mark.parametrize(
    ("answer", "failure", "said"),
    [
        (error(401, "Invalid API key"), Failure.KEY, "Invalid API key"),
        (
            Json(200, {"status": "error", "message": "Invalid Api Key", "tip": "1. Make sure"}),
            Failure.KEY,
            "Invalid Api Key 1. Make sure",
        ),
        (error(402, "Insufficient credits. Please add more."), Failure.CREDITS, "Insufficient credits. Please"),
        (error(403, "This feature requires a premium subscription"), Failure.PLAN, "requires a premium"),
        (error(200, "Model not found: sdxl"), Failure.UNKNOWN_MODEL, "Model not found: sdxl"),
        (error(200, "Model id not found"), Failure.UNKNOWN_MODEL, "Model id not found"),
        (error(400, {"model_id": ["The field is wrong.", "Really."]}), Failure.REFUSED, "The field is wrong. Really."),
        (Json(200, {"status": "error"}), Failure.REFUSED, "HTTP 200"),
        (
            error(400, "no <!channel> & `code`\x1b[31m\u202e"),
            Failure.REFUSED,
            "no &lt;!channel&gt; &amp; \u02cbcode\u02cb�[31m�",
        ),
    ],
)
async def test_a_refusal_is_told_to_everyone(bot: Scenario, answer: Answer, failure: Failure, said: str) -> None:
    """If ModelsLab refuses, everybody reads in their own channel why, in its own words, and what to do."""
    held = asyncio.Event()
    bot.modelslab.answer("sdxl", Later(held, answer))
    await bot.ask("sdxl", ADA, MODELS)
    await bot.ask("sdxl", BEN, OPS)
    await bot.ask("sdxl", CEM, OPS)
    held.set()
    await bot.wait_done()

    here, there = bot.said(channel=MODELS)[0], bot.said(channel=OPS)[0]
    assert here.text.startswith(f"<@{ADA}> `sdxl` was not reloaded: {FAILURES[failure].why}. {FAILURES[failure].fix}")
    assert there.text.startswith(f"<@{BEN}> <@{CEM}> `sdxl` was not reloaded: {FAILURES[failure].why}")
    assert (said in here.text) is (failure is not Failure.UNKNOWN_MODEL)
    assert MAYBE not in here.text
    assert len(bot.said()) == 2
    assert [("sdxl", "done", failure.value)] == bot.reloads


@one_mode
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
        assert 1.0 <= second - first < 2.0
        assert len(bot.said(READY, f"`{model}`")) == 1
    assert bot.said(FAILED) == []


@one_mode
async def test_a_fault_is_tried_again(bot: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server error, a broken connection and a silence are tried again until ModelsLab accepts."""
    monkeypatch.setattr("bot.modelslab.client.ATTEMPT_SECONDS", 0.3)
    faults: list[Answer] = [
        error(500, "Internal server error. Please try again."),
        error(503, "Service temporarily unavailable. Please try again later."),
        Raw(502, b"<h1>Bad Gateway</h1>"),
        Reset(),
        AcceptThenReset(),
        HalfAnswer(),
        Hang(),
        Drip(b"x" * 100, 0.05),
    ]
    for number, fault in enumerate(faults):
        bot.modelslab.answer(f"model-{number}", fault, fault, ACCEPTED)
        await bot.ask(f"model-{number}")
    await bot.wait_done(len(faults))

    assert set(Counter(call.model_id for call in bot.modelslab.calls).values()) == {3}
    assert len(bot.ready()) == len(faults)
    assert bot.said(FAILED) == []


@one_mode
async def test_nothing_listens(bot: Scenario) -> None:
    """A ModelsLab that is down is asked again until it is back."""
    await bot.modelslab.stop()
    await bot.ask("sdxl")
    await bot.log.wait_for("job_failed", 2)
    await bot.modelslab.start()
    await bot.wait_done()

    assert len(bot.said(READY)) == 1
    assert {"no connection"} == {record["said"] for record in bot.log.of("job_failed")}


@one_mode
@pytest.mark.parametrize(
    ("answer", "failure", "maybe"),
    [
        (error(500, "Internal server error. Please try again."), Failure.DOWN, False),
        (Raw(502, b""), Failure.DOWN, True),
        (Reset(), Failure.NO_ANSWER, True),
        (SAME_REQUEST, Failure.RATE_LIMIT, False),
    ],
    ids=["500", "502", "reset", "rate limit"],
)
async def test_giving_up(
    bot: Scenario,
    answer: Answer,
    failure: Failure,
    maybe: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After ten minutes the bot gives up and says so; where a request got no clear answer, it says that too."""
    bot.hurry(call_give_up=0.2)
    monkeypatch.setattr("bot.modelslab.client.RATE_LIMIT_WAIT", 0.05)
    await bot.reopen()
    bot.modelslab.answer("sdxl", answer)
    await bot.ask("sdxl")
    told = await bot.wait_said(FAILED)
    await bot.wait_done()

    assert FAILURES[failure].why in told.text
    assert ("https://modelslab.com/status" in told.text) == (failure is not Failure.RATE_LIMIT)
    assert maybe == (MAYBE in told.text)
    assert 2 <= len(bot.modelslab.calls) <= 6
    assert bot.log.of("reload_failed")[0]["level"] == "warning"
    assert not [record for record in bot.log.records if record["level"] == "error"]


@one_mode
async def test_a_refusal_after_an_unknown_outcome(bot: Scenario) -> None:
    """A refusal that follows a request without an answer says that the model may already be reloading."""
    bot.modelslab.answer("sdxl", AcceptThenReset(), error(400, "This model is too large"))
    await bot.ask("sdxl")
    told = await bot.wait_said(FAILED)

    assert f"{FAILURES[Failure.REFUSED].why}. At least one request got no clear answer" in told.text
    assert MAYBE in told.text


@one_mode
async def test_a_redirect_is_not_followed(bot: Scenario) -> None:
    """A redirect is not followed: the key is sent to nobody but the ModelsLab of the settings."""
    async with SandboxModelsLab() as elsewhere:
        bot.modelslab.answer("sdxl", Redirect(f"{elsewhere.url}/api/v6/images/model_reload"))
        await bot.ask("sdxl")
        told = await bot.wait_said(FAILED)

        assert elsewhere.calls == []
        assert "(`HTTP 307` · reload `" in told.text


NO_SENSE: tuple[Answer, ...] = (
    Raw(200, b"<html>Welcome</html>"),
    Raw(200, b""),
    Raw(204),
    Raw(200, b"\xff\xfe\x00"),
    Raw(200, b'"success"'),
    Raw(200, b'["success"]'),
    Json(200, {"status": None, "message": "hm"}),
    Json(200, {"status": {"success": True}}),
    Json(201, {"state": "success"}),
    Big(1),
    DeepJson(100_000),
)


@one_mode
async def test_an_answer_without_sense(bot: Scenario) -> None:
    """A 2xx that does not say success is no acceptance: it fails, is not repeated, and may have worked."""
    for number, answer in enumerate(NO_SENSE):
        bot.modelslab.answer(f"model-{number}", answer)
        await bot.ask(f"model-{number}")
    await bot.wait_done(len(NO_SENSE))

    assert len(bot.modelslab.calls) == len(bot.said(FAILED)) == len(NO_SENSE)
    assert bot.said(READY) == []
    assert all(len(message.text) < 1000 for message in bot.said(FAILED))


@one_mode
async def test_processing_is_an_acceptance(bot: Scenario) -> None:
    """The status "processing" is as good as "success"."""
    bot.modelslab.answer("sdxl", Json(200, {"status": "processing", "message": "Model is reloading"}))
    await bot.ask("sdxl")

    await bot.wait_said(READY)


@one_mode
async def test_the_key_in_an_answer(bot: Scenario) -> None:
    """ModelsLab's key never shows, even where ModelsLab itself repeats it, in whichever case."""
    key = bot.modelslab.key
    for where in ("message", "messege", "tip", "tips"):
        echo = {"status": "error", where: [f"bad key {key}", {"KEY": key.upper()}]}
        bot.modelslab.answer(f"in-{where}", Json(401, echo))
        await bot.ask(f"in-{where}")
    await bot.wait_done(4)

    assert len(bot.said("bad key [redacted] [redacted]")) == 4
    assert key.lower() not in bot.log.text.lower()


# --- many at once ---------------------------------------------------------------------------------------


@one_mode
async def test_calls_at_once(bot: Scenario) -> None:
    """At most MODELSLAB_CONCURRENCY calls are made at once, and all are made in the end."""
    await bot.reopen(MODELSLAB_CONCURRENCY="2")
    held = asyncio.Event()
    models = [f"model-{number}" for number in range(6)]
    for model in models:
        bot.modelslab.answer(model, Held(held), ACCEPTED)
        await bot.ask(model)
    await bot.modelslab.wait_for_calls(2)
    held.set()
    await bot.wait_done(6)

    assert bot.modelslab.in_flight_max == 2
    assert models == sorted(call.model_id for call in bot.modelslab.calls)
    assert sorted(bot.ready()) == models


@one_mode
async def test_a_slow_model_holds_up_no_other(bot: Scenario) -> None:
    """A call that hangs keeps neither another model's call nor its follow-up waiting."""
    held = asyncio.Event()
    bot.modelslab.answer("slow", Held(held), ACCEPTED)
    await bot.ask("slow")
    await bot.modelslab.wait_for_calls(1)
    await bot.ask("quick")
    await bot.wait_said("`quick`", READY)

    assert bot.said("`slow`") == []
    held.set()
    await bot.wait_said("`slow`", READY)


@one_mode
async def test_calls_that_take_every_slot_hold_up_no_follow_up(bot: Scenario) -> None:
    """What is due elsewhere is posted while no more calls may be made."""
    await bot.reopen(MODELSLAB_CONCURRENCY="1", RELOAD_SECONDS="0.5")
    await bot.ask("quick")
    await bot.wait_said("is reloading `quick`")
    held = asyncio.Event()
    bot.modelslab.answer("slow", Held(held), ACCEPTED)
    await bot.ask("slow")
    await bot.modelslab.wait_for_calls(2)
    await bot.wait_said("`quick`", READY)

    assert bot.said("`slow`") == []
    held.set()
    await bot.wait_said("`slow`", READY)


@one_mode
async def test_old_history_is_forgotten(bot: Scenario) -> None:
    """What ended longer ago than HISTORY_DAYS is forgotten, in steps, when the bot starts."""
    await bot.ask("old")
    await bot.wait_done()
    await bot.ask("new")
    await bot.wait_done(2)
    await bot.wait_sql("SELECT count(*) = 0 FROM reload_model_jobs")
    await bot.shut()
    bot.sql("UPDATE reload_model_reloads SET ended_at = ended_at - 91 * 86400 WHERE model_id = 'old'")
    await bot.open()

    assert (await bot.log.wait_for("history_pruned"))["reloads"] == 1
    assert bot.reloads == [("new", "done", None)]


@pytest.mark.parametrize("mode", ["socket"])
async def test_another_request_with_the_same_trigger_id(bot: Scenario) -> None:
    """An emulator or a proxy may send the same one each time. Another person, model or place is another request."""
    await bot.reopen(RELOAD_SECONDS="60")
    first = await bot.ask("sdxl", ADA)
    for model_id, user, channel in (("flux", BEN, MODELS), ("flux", ADA, MODELS), ("flux", ADA, OPS)):
        await bot.ask(model_id, user, channel, trigger_id=first.trigger_id, response_url=first.response_url)
    await bot.wait_sql("SELECT count(*) = 2 FROM reload_model_reloads WHERE state = 'accepted'")

    assert sorted(call.model_id for call in bot.modelslab.calls) == ["flux", "sdxl"]
    asked = "SELECT user_id, channel_id FROM reload_model_subscribers ORDER BY id"
    assert bot.sql(asked) == [(ADA, MODELS), (BEN, MODELS), (ADA, MODELS), (ADA, OPS)]


@pytest.mark.parametrize("mode", ["socket"])
async def test_a_first_answer_that_is_unclear(bot: Scenario) -> None:
    """It may have been an acceptance, and there was no earlier request."""
    bot.modelslab.answer("sdxl", Raw(200, b"<html>"))
    await bot.ask("sdxl")
    told = await bot.wait_said(FAILED)

    why = FAILURES[Failure.NO_SENSE].why
    assert f"{why}. At least one request got no clear answer, so the model may already be reloading" in told.text
    assert len(bot.modelslab.calls) == 1
