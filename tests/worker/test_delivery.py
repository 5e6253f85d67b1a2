"""The ways in which a message can go, where no scenario gets: tests/scenarios/test_places.py shows each of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from bot.core.models import RESPONSE_URL_SECONDS, Claim, JobKind, Subscriber
from bot.errors import SlackPermanentError, SlackRetryableError
from bot.sandbox.slack.service import RESPONSE_URL, SandboxSlack
from bot.ui.messages import Message
from bot.worker.delivery import Delivery, Pacer
from tests.answers import AWAY, AcceptThenReset, Answer, Drip, HalfAnswer, Hang, Json, RateLimited, Raw
from tests.samples import ADA, BEN, MODELS, NOON, OPS, claim, client_of, job, subscriber
from tests.storage.support import Clock

STATUS = JobKind.STATUS
HELLO = Message("<@U0ADA> `sdxl` should be ready now.")


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A Slack with a channel that the bot is in, and one in which it can't post."""
    async with SandboxSlack(clock=lambda: NOON) as slack:
        slack.add_channel(MODELS, "models")
        slack.add_channel(OPS, "ops", private=True, bot_is_member=False)
        yield slack


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock(1000.0)


@pytest.fixture
def pacer(clock: Clock) -> Pacer:
    """The pacer under test, with a second between two messages."""
    return Pacer(clock)


@pytest.fixture
async def delivery(slack: SandboxSlack, pacer: Pacer) -> AsyncIterator[Delivery]:
    """The delivery under test, which waits less long for an answer than the bot's does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        yield Delivery(client_of(slack, session), pacer)


async def requester(slack: SandboxSlack, id_: int = 1, user: str = ADA, age: float = 60) -> Subscriber:
    """A request in OPS so many seconds ago, with the response_url that Slack made for it."""
    ack = await slack.command("sdxl", user=user, channel=OPS)
    return subscriber(id_, user, OPS, requested_at=NOON - age, response_url=ack.response_url)


def in_ops(*subscribers: Subscriber) -> Claim:
    """A job in the channel in which the bot can't post."""
    return claim(*subscribers, of=job(channel_id=OPS))


@pytest.mark.parametrize("codes", ["invalid_blocks", "thread_not_found msg_too_long", "msg_too_long thread_not_found"])
async def test_a_follow_up_is_posted_with_as_much_as_slack_takes(
    slack: SandboxSlack, delivery: Delivery, codes: str
) -> None:
    """By itself if the thread is gone, and without blocks. No text is cut, and no link unfurls."""
    for code in codes.split():
        slack.fail("chat.postMessage", code, times=1)
    await delivery.to_channel([claim(subscriber(), status_ts="1.0")], HELLO, thread=True)
    [message] = slack.messages

    thread_ts = None if "thread_not_found" in codes else "1.0"
    assert (message.text, message.blocks, message.thread_ts) == (HELLO.text, [], thread_ts)
    assert message.broadcast is (thread_ts is not None)
    assert (slack.calls[-1].args["unfurl_links"], slack.calls[-1].args["unfurl_media"]) == (False, False)


@pytest.mark.parametrize(
    "answer",
    [
        "used_url",
        Json(200, {"ok": False, "error": "cant_post"}),
        Drip(b'{"ok": false}', 0.001),
        Raw(200, b'{"ok": false' + b" " * 5000),
        Raw(200, b'{\n "ok":\tfalse, "error": "used_url"}'),
        Raw(403),
        AWAY,
    ],
    ids=repr,
)
async def test_the_next_response_url_is_used_if_one_does_not_take_the_message(
    slack: SandboxSlack, delivery: Delivery, answer: Answer | str
) -> None:
    """Only a plain success counts, and no redirect is followed. Each works five times in half an hour.

    Of several reloads in one message, all are tried.

    https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
    """
    older, newer = await requester(slack, 1, age=RESPONSE_URL_SECONDS - 1), await requester(slack, 2, BEN)
    fifth, used_up = replace(older, response_url_uses=4), replace(newer, id=3, requested_at=NOON, response_url_uses=5)
    too_old = replace(newer, id=4, requested_at=NOON - RESPONSE_URL_SECONDS)
    slack.fail(RESPONSE_URL, answer, times=1)

    assert (await delivery.to_channel([in_ops(fifth), in_ops(newer, used_up)], HELLO)).response_url_of == 1
    assert len(slack.messages) == 1
    with pytest.raises(SlackPermanentError):
        await delivery.to_channel([in_ops(too_old)], HELLO)


async def test_only_the_newest_response_urls_are_tried(slack: SandboxSlack, delivery: Delivery) -> None:
    """A crowd's would take long."""
    crowd = [await requester(slack, number, f"U0N{number}", age=number) for number in range(1, 9)]
    slack.fail(RESPONSE_URL, "used_url")
    with pytest.raises(SlackPermanentError):
        await delivery.to_channel([in_ops(*crowd)], HELLO)

    assert [call.method for call in slack.calls].count(RESPONSE_URL) == 5


@pytest.mark.parametrize(
    ("answer", "codes", "wait"),
    [
        (RateLimited(7), ["ratelimited"], 7.0),
        (RateLimited(None), ["ratelimited"], None),
        (Raw(503, b"<h1>Down</h1>"), ["503"], None),
        (Raw(200, b"\n<html>Please log in</html>"), ["no_sense"], None),
        (HalfAnswer(), ["ClientPayloadError"], None),
        (Hang(), ["TimeoutError"], None),
        (AcceptThenReset(), ["ServerDisconnectedError", "ClientOSError"], None),
    ],
    ids=repr,
)
async def test_a_response_url_that_may_work_later_is_tried_again(
    slack: SandboxSlack, delivery: Delivery, answer: Answer, codes: list[str], wait: float | None
) -> None:
    """Slack's outages and limits hold for all response_urls. If an answer is lost, the message may have been taken."""
    asked = await requester(slack)
    slack.fail(RESPONSE_URL, answer)
    with pytest.raises(SlackRetryableError) as raised:
        await delivery.to_channel([in_ops(asked, await requester(slack, 2, BEN))], HELLO)

    assert raised.value.code.removeprefix("response_url_") in codes
    assert raised.value.wait == wait
    assert asked.response_url not in str(raised.value)


async def test_one_status_message_at_a_time_is_posted_in_a_channel(
    slack: SandboxSlack, delivery: Delivery, clock: Clock
) -> None:
    """One in which Slack hangs keeps no other slot; follow-ups and other channels don't wait for it."""
    here = claim(subscriber(), of=job(STATUS))
    slack.fail("chat.postMessage", Hang(), times=1)
    posting = asyncio.create_task(delivery.post_status(here, HELLO))
    await slack.wait_until(lambda: bool(slack.calls))

    assert [delivery.take_turn(channel, status=True) for channel in (MODELS, OPS)] == [1.0, 0.0]
    assert delivery.take_turn(MODELS) == 0.0
    with pytest.raises(SlackRetryableError):
        await posting
    clock.now += 2.0
    assert delivery.take_turn(MODELS, status=True) == 0.0


def test_a_best_effort_message_never_delays_a_guaranteed_one(pacer: Pacer, clock: Clock) -> None:
    """However many status messages wait, a follow-up waits for the last message only, and they wait for it."""
    assert [pacer.take_turn(MODELS, best_effort=True) for _ in range(4)] == [0, 1, 1, 1]
    assert [pacer.take_turn(MODELS, best_effort=False) for _ in range(2)] == [1, 1]
    for best_effort, waits in (([True, False, False], [1, 0, 1]), ([True, False], [1, 0]), ([True, True], [0, 1])):
        clock.now += 1
        assert [pacer.take_turn(MODELS, best_effort=one) for one in best_effort] == waits


async def test_a_channel_or_person_that_slack_has_limited_is_left_alone(
    slack: SandboxSlack, delivery: Delivery, pacer: Pacer, clock: Clock
) -> None:
    """For as long as Slack says, within reason, and others are not."""
    slack.fail("chat.postMessage", RateLimited(7), times=1)
    with pytest.raises(SlackRetryableError):
        await delivery.to_person(BEN, HELLO)
    assert (delivery.take_turn(BEN), delivery.take_turn(ADA)) == (7.0, 0.0)
    pacer.hold(MODELS, 30)
    pacer.hold(MODELS, 10)
    pacer.hold(OPS, 1e300)
    assert [pacer.take_turn(where, best_effort=False) for where in (MODELS, OPS, "C0LAB")] == [30, 300, 0]
    clock.now += 30
    assert [pacer.take_turn(where, best_effort=False) for where in (MODELS, MODELS, OPS)] == [0, 1, 270]


def test_what_is_remembered_does_not_grow_for_ever(pacer: Pacer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that are free are forgotten; the others are not."""
    monkeypatch.setattr("bot.worker.delivery._REMEMBERED", 3)
    for number in range(100):
        for _ in range(2):
            pacer.take_turn(f"C{number}", best_effort=False)
        pacer.hold(f"C{number}", 1)
        clock.now += 70
    pacer.take_turn(MODELS, best_effort=False)

    assert all(len(times) <= 6 for times in (pacer._free_at, pacer._wanted_at))  # noqa: SLF001
    assert pacer.take_turn(MODELS, best_effort=False) == 1
