"""A message is delivered by the first way that works: the channel, a response_url, or else a DM."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from bot.core.models import Claim, Subscriber
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.sandbox.slack import RESPONSE_URL, SandboxSlack
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.ui.messages import Message
from bot.worker.delivery import Delivered, Delivery, Pacer
from tests.answers import AcceptThenReset, Answer, Drip, HalfAnswer, Hang, Json, RateLimited, Raw, Redirect, Reset
from tests.samples import ADA, BEN, MODELS, NOON, OPS, claim, job, subscriber

POST = "chat.postMessage"
HELLO = Message("<@U0ADA> `sdxl` should be ready now.")


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A Slack with a channel that the bot is in, and one where it is not and can not post."""
    async with SandboxSlack(clock=lambda: NOON) as slack:
        slack.add_channel(MODELS, "models")
        slack.add_channel(OPS, "ops", private=True, bot_is_member=False)
        yield slack


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that waits less long for an answer than the bot's does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
        yield session


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def pacer(clock: Clock) -> Pacer:
    """The pacer under test, with a second between two messages."""
    return Pacer(clock, 1.0)


@pytest.fixture
def delivery(slack: SandboxSlack, session: aiohttp.ClientSession, pacer: Pacer) -> Delivery:
    """The delivery under test."""
    return Delivery(SlackClient(session, slack.bot_token, slack.api_url), pacer)


async def asker(slack: SandboxSlack, id_: int = 1, user: str = ADA, channel: str = OPS, age: float = 60) -> Subscriber:
    """Somebody who asked in a channel so many seconds ago, with the response_url that Slack made for that."""
    ack = await slack.command("sdxl", user=user, channel=channel)
    return subscriber(id_, user, channel, requested_at=NOON - age, response_url=ack.response_url)


async def refusal(delivery: Delivery, claimed: Claim, *, thread: bool = False) -> SlackError:
    """Why a message reached nobody."""
    with pytest.raises(SlackError) as raised:
        await delivery.to_channel(claimed, HELLO, thread=thread)
    return raised.value


def in_ops(*subscribers: Subscriber) -> Claim:
    """A job in the channel where the bot can not post."""
    return claim(*subscribers, of=job(channel_id=OPS))


# The channel


async def test_a_message_is_posted_in_the_channel(slack: SandboxSlack, delivery: Delivery) -> None:
    """With its blocks and its text, and without previews of links."""
    delivered = await delivery.to_channel(claim(subscriber()), HELLO)
    [message] = slack.messages

    assert delivered == Delivered(ts=message.ts)
    assert (message.channel, message.text, message.blocks) == (MODELS, HELLO.text, HELLO.blocks)
    assert (message.thread_ts, message.via) == (None, "api")
    assert (slack.calls[0].args["unfurl_links"], slack.calls[0].args["unfurl_media"]) == (False, False)


async def test_a_follow_up_is_a_broadcast_reply_to_the_status_message(slack: SandboxSlack, delivery: Delivery) -> None:
    """It is read in both places."""
    status = await delivery.to_channel(claim(subscriber()), HELLO)
    await delivery.to_channel(claim(subscriber(), status_ts=status.ts), HELLO, thread=True)

    assert (slack.messages[1].thread_ts, slack.messages[1].broadcast) == (status.ts, True)


@pytest.mark.parametrize(("status_ts", "thread"), [("", True), ("1.0", False)])
async def test_a_message_without_a_status_message_is_no_reply(
    slack: SandboxSlack, delivery: Delivery, status_ts: str, *, thread: bool
) -> None:
    """Nor is a status message itself."""
    await delivery.to_channel(claim(subscriber(), status_ts=status_ts), HELLO, thread=thread)

    assert (slack.messages[0].thread_ts, slack.messages[0].broadcast) == (None, False)


@pytest.mark.parametrize(
    "code",
    [
        "thread_not_found",
        "message_not_found",
        "cannot_reply_to_message",
        "restricted_action_thread_locked",
        "restricted_action_non_threadable_channel",
    ],
)
async def test_a_follow_up_whose_thread_is_gone_is_no_reply(slack: SandboxSlack, delivery: Delivery, code: str) -> None:
    """Somebody may have deleted the status message, or locked its thread."""
    slack.fail(POST, code, times=1)
    delivered = await delivery.to_channel(claim(subscriber(), status_ts="1.0"), HELLO, thread=True)

    assert [(message.ts, message.thread_ts) for message in slack.messages] == [(delivered.ts, None)]


@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format"])
@pytest.mark.parametrize("thread", [True, False])
async def test_a_message_whose_blocks_are_refused_is_posted_as_text(
    slack: SandboxSlack, delivery: Delivery, code: str, *, thread: bool
) -> None:
    """Nothing of the text is cut: everyone who is mentioned in it counts as notified."""
    slack.fail(POST, code, times=1)
    long = Message("x " * 5000 + "should be ready now.")
    await delivery.to_channel(claim(subscriber(), status_ts="1.0"), long, thread=thread)
    [message] = slack.messages

    assert (message.text, message.blocks, message.thread_ts) == (long.text, [], None)


async def test_a_message_that_is_too_long_in_any_form_is_refused(slack: SandboxSlack, delivery: Delivery) -> None:
    """It is tried in two forms and no more."""
    slack.fail(POST, "msg_too_long")
    failed = await refusal(delivery, claim(subscriber(), status_ts="1.0"), thread=True)

    assert (type(failed), failed.code, len(slack.calls)) == (SlackPermanentError, "msg_too_long", 2)


@pytest.mark.parametrize(
    "answer", ["fatal_error", RateLimited(7), Raw(502), Reset(), AcceptThenReset(), Hang()], ids=repr
)
async def test_a_passing_fault_uses_no_response_url(
    slack: SandboxSlack, delivery: Delivery, answer: Answer | str
) -> None:
    """There are few of those, and the message is tried again."""
    asked = await asker(slack, channel=MODELS)
    slack.fail(POST, answer)
    failed = await refusal(delivery, claim(asked))

    assert isinstance(failed, SlackRetryableError)
    assert failed.wait == (7.0 if isinstance(answer, RateLimited) else None)
    assert [call.method for call in slack.calls] == [POST]


# A response_url


async def test_a_response_url_carries_a_message_where_the_bot_can_not_post(
    slack: SandboxSlack, delivery: Delivery
) -> None:
    """Everyone in the channel sees it, and nothing is replaced."""
    delivered = await delivery.to_channel(in_ops(await asker(slack, 7)), HELLO, thread=True)
    [message] = slack.messages

    assert delivered == Delivered(ts="", response_url_of=7)
    assert (message.channel, message.via, message.user) == (OPS, "response_url", None)
    assert (message.text, message.blocks) == (HELLO.text, HELLO.blocks)
    assert slack.calls[-1].args["replace_original"] is False


@pytest.mark.parametrize("code", sorted(TOKEN_FAULTS))
async def test_a_response_url_needs_no_token(slack: SandboxSlack, delivery: Delivery, code: str) -> None:
    """People are notified even after the token was revoked."""
    asked = await asker(slack, channel=MODELS)
    slack.fail(POST, code)
    delivered = await delivery.to_channel(claim(asked), HELLO)

    assert (delivered.response_url_of, slack.messages[0].via) == (1, "response_url")


@pytest.mark.parametrize("code", sorted(TOKEN_FAULTS))
async def test_a_message_without_a_response_url_waits_for_another_token(
    slack: SandboxSlack, delivery: Delivery, code: str
) -> None:
    """It is tried again, and not given up."""
    slack.fail(POST, code)
    failed = await refusal(delivery, claim(subscriber()))

    assert (type(failed), failed.code) == (SlackRetryableError, code)


async def test_the_newest_response_url_is_used_first(slack: SandboxSlack, delivery: Delivery) -> None:
    """It lasts the longest; a spent one falls to the next."""
    old, new = await asker(slack, 1, ADA, age=600), await asker(slack, 2, BEN, age=60)
    claimed = in_ops(old, new)
    first = await delivery.to_channel(claimed, HELLO)
    slack.spend(new.response_url)
    second = await delivery.to_channel(claimed, HELLO)

    assert (first.response_url_of, second.response_url_of) == (2, 1)


async def test_a_response_url_that_is_old_or_used_up_is_not_tried(slack: SandboxSlack, delivery: Delivery) -> None:
    """As far as is known: five uses in half an hour, and none at all where the command brought none."""
    aged, used = await asker(slack, 1, age=1800), replace(await asker(slack, 2), response_url_uses=5)
    failed = await refusal(delivery, in_ops(aged, used, subscriber(3, BEN, OPS)))

    assert (type(failed), failed.code) == (SlackPermanentError, "channel_not_found")
    assert [call.method for call in slack.calls] == [POST]


async def test_the_last_use_of_a_response_url_is_tried(slack: SandboxSlack, delivery: Delivery) -> None:
    """The fifth use, a second before half an hour is over."""
    asked = replace(await asker(slack, 1, age=1799), response_url_uses=4)

    assert (await delivery.to_channel(in_ops(asked), HELLO)).response_url_of == 1


async def test_a_response_url_of_another_channel_is_not_used(slack: SandboxSlack, delivery: Delivery) -> None:
    """It leads there."""
    failed = await refusal(delivery, in_ops(await asker(slack, 1, channel=MODELS), subscriber(2, BEN, OPS)))

    assert isinstance(failed, SlackPermanentError)
    assert slack.messages == []


@pytest.mark.parametrize(
    "answer",
    [
        "used_url",
        "expired_url",
        Json(200, {"ok": False, "error": "cant_post"}),
        Raw(200, b'{"ok":false}', "text/plain"),
        Drip(b'{"ok": false}', 0.001),
        Raw(200, b'{"ok": false' + b" " * 5000),
        Raw(403),
        Redirect("http://127.0.0.1:9/"),
        Raw(302, headers={"Location": "http://127.0.0.1:9/"}),
    ],
    ids=repr,
)
async def test_the_next_response_url_is_used_where_one_does_not_take_the_message(
    slack: SandboxSlack, delivery: Delivery, answer: Answer | str
) -> None:
    """Only a plain success is one; a redirect is not followed."""
    older, newer = await asker(slack, 1, age=600), await asker(slack, 2, BEN)
    slack.fail(RESPONSE_URL, answer, times=1)

    assert (await delivery.to_channel(in_ops(older, newer), HELLO)).response_url_of == 1
    assert len(slack.messages) == 1


async def test_a_message_that_no_response_url_takes_fails_for_the_channels_reason(
    slack: SandboxSlack, delivery: Delivery
) -> None:
    """That decides what comes next."""
    slack.fail(RESPONSE_URL, "expired_url")
    failed = await refusal(delivery, in_ops(await asker(slack, 1), await asker(slack, 2, BEN)))

    assert (type(failed), failed.code) == (SlackPermanentError, "channel_not_found")
    assert [call.method for call in slack.calls] == [POST, RESPONSE_URL, RESPONSE_URL]


@pytest.mark.parametrize(
    ("answer", "code", "wait"),
    [
        (RateLimited(7), "response_url_ratelimited", 7.0),
        (RateLimited(None), "response_url_ratelimited", None),
        (Raw(500), "response_url_500", None),
        (Raw(503, b"<h1>Down</h1>"), "response_url_503", None),
        (HalfAnswer(), "response_url_ClientPayloadError", None),
        (Hang(), "response_url_TimeoutError", None),
    ],
    ids=repr,
)
async def test_a_response_url_that_may_work_later_is_tried_again(
    slack: SandboxSlack,
    delivery: Delivery,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    code: str,
    wait: float | None,
) -> None:
    """Slack's outages and limits hold for all of them alike."""
    asked = await asker(slack)
    monkeypatch.setattr("bot.slack.client.RESPOND_SECONDS", 0.2)
    slack.fail(RESPONSE_URL, answer)
    failed = await refusal(delivery, in_ops(asked, await asker(slack, 2, BEN)))

    assert isinstance(failed, SlackRetryableError)
    assert (failed.code, failed.wait) == (code, wait)


@pytest.mark.parametrize("answer", [Reset(), AcceptThenReset()], ids=repr)
async def test_a_response_url_whose_connection_breaks_is_tried_again(
    slack: SandboxSlack, delivery: Delivery, answer: Answer
) -> None:
    """At least once: nobody can tell whether it was taken."""
    asked = await asker(slack)
    slack.fail(RESPONSE_URL, answer)
    failed = await refusal(delivery, in_ops(asked))

    assert isinstance(failed, SlackRetryableError)
    assert failed.code.startswith("response_url_")
    assert asked.response_url not in str(failed)


# A DM, and an edit


async def test_a_person_gets_a_direct_message(slack: SandboxSlack, delivery: Delivery) -> None:
    """In the DM between them and the bot."""
    await delivery.to_person(BEN, HELLO)
    [message] = slack.messages

    assert (message.via, message.user, message.text, message.blocks) == ("dm", BEN, HELLO.text, HELLO.blocks)


async def test_a_person_who_can_not_get_a_direct_message_is_out_of_reach(
    slack: SandboxSlack, delivery: Delivery
) -> None:
    """The app may not be allowed to, or the person may not exist."""
    slack.messages_tab = False
    with pytest.raises(SlackPermanentError, match="messages_tab_disabled"):
        await delivery.to_person(BEN, HELLO)
    with pytest.raises(SlackPermanentError, match="user_not_found"):
        await delivery.to_person("X0NOBODY", HELLO)

    assert slack.messages == []


@pytest.mark.parametrize("channel", [None, [], "D0BEN", {}, {"id": None}, {"id": 7}], ids=repr)
async def test_a_direct_message_that_can_not_be_opened_is_tried_again(
    slack: SandboxSlack, delivery: Delivery, channel: object
) -> None:
    """An answer that names no channel makes no sense."""
    slack.fail("conversations.open", Json(200, {"ok": True, "channel": channel}))

    with pytest.raises(SlackRetryableError, match="no_channel_opened"):
        await delivery.to_person(BEN, HELLO)


async def test_a_message_that_was_posted_can_be_edited(slack: SandboxSlack, delivery: Delivery) -> None:
    """Text and blocks are replaced, as often as it takes."""
    posted = await delivery.to_channel(claim(subscriber()), HELLO)
    closed = Message("✓ `sdxl`")
    for _ in range(2):
        await delivery.edit(MODELS, posted.ts, closed)
    [message] = slack.messages

    assert (message.text, message.blocks) == (closed.text, closed.blocks)


async def test_a_message_that_is_gone_can_not_be_edited(delivery: Delivery) -> None:
    """That is no reason to post it anew."""
    with pytest.raises(SlackPermanentError, match="message_not_found"):
        await delivery.edit(MODELS, "1.0", HELLO)


# One message a second


def test_messages_in_a_channel_are_a_gap_apart(pacer: Pacer) -> None:
    """Turns are handed out in the order in which jobs ask; no channel waits for another."""
    assert [pacer.wait(number, MODELS) for number in range(4)] == [0, 1, 2, 3]
    assert pacer.wait(4, OPS) == 0


def test_a_turn_is_kept_until_it_is_taken(pacer: Pacer, clock: Clock) -> None:
    """A job that asks again, early, on time or late, keeps the turn that it was given."""
    waits = [pacer.wait(1, MODELS), pacer.wait(2, MODELS), pacer.wait(3, MODELS)]
    clock.now += 0.25
    waits += [pacer.wait(2, MODELS), pacer.wait(3, MODELS)]
    clock.now += 0.75
    waits += [pacer.wait(2, MODELS), pacer.wait(3, MODELS)]
    clock.now += 5
    waits += [pacer.wait(3, MODELS), pacer.wait(4, MODELS), pacer.wait(5, MODELS)]

    assert waits == [0, 1, 2, 0.75, 1.75, 0, 1, 0, 0, 1]


def test_a_channel_that_slack_has_limited_is_left_alone(pacer: Pacer, clock: Clock) -> None:
    """For as long as Slack says, and other channels are not; a turn that was given meanwhile is kept."""
    pacer.hold(MODELS, 30)
    pacer.hold(MODELS, 10)
    waits = [pacer.wait(1, MODELS), pacer.wait(2, MODELS), pacer.wait(3, OPS)]
    clock.now += 10
    waits += [pacer.wait(1, MODELS), pacer.wait(2, MODELS)]
    clock.now += 20
    waits += [pacer.wait(1, MODELS), pacer.wait(2, MODELS)]

    assert waits == [30, 31, 0, 20, 21, 0, 1]


@pytest.mark.parametrize("asks_at", [1.0, 5.0, 60.0])
def test_a_pause_holds_for_messages_that_have_a_turn_already(pacer: Pacer, clock: Clock, asks_at: float) -> None:
    """They are not posted within it, and a gap apart after it, whenever they ask again."""
    began = clock.now
    assert [pacer.wait(number, MODELS) for number in (1, 2, 3)] == [0, 1, 2]
    pacer.hold(MODELS, 5)
    clock.now += asks_at

    turns = [clock.now + pacer.wait(number, MODELS) - began for number in (2, 3)]

    assert turns == [max(asks_at, 5.0), max(asks_at, 5.0) + 1]


def test_no_pause_lasts_for_good(pacer: Pacer, clock: Clock) -> None:
    """An absurd figure is believed for five minutes; one that is over, or of no time, is no matter."""
    pacer.hold(MODELS, 1e300)
    pacer.hold(OPS, 0)

    assert [pacer.wait(1, MODELS), pacer.wait(2, OPS)] == [300, 0]
    clock.now += 300
    assert pacer.wait(3, OPS) == 0


async def test_a_limit_of_slacks_pauses_the_channel_of_a_message(
    slack: SandboxSlack, delivery: Delivery, clock: Clock
) -> None:
    """The next message had its turn already, and waits for as long as Slack asked."""
    first, second = claim(subscriber()), claim(subscriber(), of=replace(job(), id=2))
    slack.fail(POST, RateLimited(5), times=1)
    assert [delivery.turn(first), delivery.turn(second)] == [0, 1]
    await refusal(delivery, first)
    clock.now += 1

    assert delivery.turn(second) == 4
    clock.now += 4
    assert delivery.turn(second) == 0
    assert delivery.turn(claim(subscriber(channel_id=OPS), of=replace(job(channel_id=OPS), id=3))) == 0


def test_what_is_remembered_does_not_grow_for_ever(pacer: Pacer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that are free and turns that nobody took are forgotten; what is going on is not."""
    monkeypatch.setattr("bot.worker.delivery._REMEMBERED", 3)
    for number in range(100):
        pacer.wait(number, f"C{number}")
        pacer.wait(1000 + number, f"C{number}")
        pacer.hold(f"C{number}", 1)
        clock.now += 70
    pacer.wait(1, MODELS)
    pacer.wait(2, MODELS)
    pacer.wait(3, OPS)

    assert all(len(vars(pacer)[name]) <= 6 for name in ("_next_turn", "_held_until", "_turns"))
    assert (pacer.wait(2, MODELS), pacer.wait(4, MODELS)) == (1, 2)
