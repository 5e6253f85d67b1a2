"""A message reaches its place by the first way that leads there: the channel, a response_url, or else a DM."""

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from bot.core.models import Subscriber, Work
from bot.errors import SlackError, SlackPermanentError, SlackRetryableError
from bot.sandbox.slack import RESPONSE_URL, SandboxSlack
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.ui.messages import Message
from bot.worker.delivery import Delivered, Delivery, Pacer
from tests.answers import AcceptThenReset, Answer, Drip, HalfAnswer, Hang, Json, RateLimited, Raw, Redirect, Reset
from tests.samples import ADA, BEN, MODELS, NOON, OPS, step, watcher, work

POST = "chat.postMessage"
HELLO = Message("<@U0ADA> `sdxl` should be ready now.")


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A Slack with a channel that the bot is in, and one where it is not and may not post."""
    async with SandboxSlack(clock=lambda: NOON) as slack:
        slack.add_channel(MODELS, "models")
        slack.add_channel(OPS, "ops", private=True, bot_is_member=False)
        yield slack


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that waits less long for an answer than the bot's does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
        yield session


@pytest.fixture
def announcer(slack: SandboxSlack, session: aiohttp.ClientSession) -> Delivery:
    """The announcer under test."""
    return Delivery(SlackClient(session, slack.bot_token, slack.api_url))


async def asker(slack: SandboxSlack, id_: int = 1, user: str = ADA, channel: str = OPS, age: float = 60) -> Subscriber:
    """Somebody who asked in a channel so many seconds ago, with the response_url that Slack made for that."""
    ack = await slack.command("sdxl", user=user, channel=channel)
    return watcher(id_, user, channel, asked_at=NOON - age, response_url=ack.response_url)


async def refusal(announcer: Delivery, item: Work, *, thread: bool = False) -> SlackError:
    """Why a message reached nobody."""
    with pytest.raises(SlackError) as raised:
        await announcer.announce(item, HELLO, thread=thread)
    return raised.value


def in_ops(*watchers: Subscriber) -> Work:
    """A step in the channel where the bot may not post."""
    return work(*watchers, item=step(channel_id=OPS))


# --- the channel ----------------------------------------------------------------------------------------


async def test_a_message_goes_to_the_channel(slack: SandboxSlack, announcer: Delivery) -> None:
    """With its blocks and its text, and without previews of links."""
    delivery = await announcer.announce(work(watcher()), HELLO)
    [message] = slack.messages

    assert delivery == Delivered(ts=message.ts)
    assert (message.channel, message.text, message.blocks) == (MODELS, HELLO.text, HELLO.blocks)
    assert (message.thread_ts, message.via) == (None, "api")
    assert (slack.calls[0].args["unfurl_links"], slack.calls[0].args["unfurl_media"]) == (False, False)


async def test_a_follow_up_goes_below_the_status_message_and_to_the_channel(
    slack: SandboxSlack, announcer: Delivery
) -> None:
    """A reply that is broadcast is read in both places."""
    status = await announcer.announce(work(watcher()), HELLO)
    await announcer.announce(work(watcher(), status_ts=status.ts), HELLO, thread=True)

    assert (slack.messages[1].thread_ts, slack.messages[1].broadcast) == (status.ts, True)


@pytest.mark.parametrize(("status_ts", "thread"), [("", True), ("1.0", False)])
async def test_without_a_status_message_it_stands_alone(
    slack: SandboxSlack, announcer: Delivery, status_ts: str, *, thread: bool
) -> None:
    """And a status message is never a reply."""
    await announcer.announce(work(watcher(), status_ts=status_ts), HELLO, thread=thread)

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
async def test_where_the_thread_is_gone_it_stands_alone_too(
    slack: SandboxSlack, announcer: Delivery, code: str
) -> None:
    """Somebody may have deleted the status message, or locked its thread."""
    slack.fail(POST, code, times=1)
    delivery = await announcer.announce(work(watcher(), status_ts="1.0"), HELLO, thread=True)

    assert [(message.ts, message.thread_ts) for message in slack.messages] == [(delivery.ts, None)]


@pytest.mark.parametrize("code", ["msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format"])
@pytest.mark.parametrize("thread", [True, False])
async def test_where_the_blocks_are_too_much_the_text_says_it_all(
    slack: SandboxSlack, announcer: Delivery, code: str, *, thread: bool
) -> None:
    """Nothing of the text is cut: whoever is mentioned in it counts as told."""
    slack.fail(POST, code, times=1)
    long = Message("x " * 5000 + "should be ready now.")
    await announcer.announce(work(watcher(), status_ts="1.0"), long, thread=thread)
    [message] = slack.messages

    assert (message.text, message.blocks, message.thread_ts) == (long.text, [], None)


async def test_a_message_that_is_too_long_in_any_form_is_refused(slack: SandboxSlack, announcer: Delivery) -> None:
    """It is tried in two forms and no more."""
    slack.fail(POST, "msg_too_long")
    failed = await refusal(announcer, work(watcher(), status_ts="1.0"), thread=True)

    assert (type(failed), failed.code, len(slack.calls)) == (SlackPermanentError, "msg_too_long", 2)


@pytest.mark.parametrize(
    "answer", ["fatal_error", RateLimited(7), Raw(502), Reset(), AcceptThenReset(), Hang()], ids=repr
)
async def test_what_may_pass_is_waited_for(slack: SandboxSlack, announcer: Delivery, answer: Answer | str) -> None:
    """An outage of Slack is no reason to use a response_url, which there are few of."""
    asked = await asker(slack, channel=MODELS)
    slack.fail(POST, answer)
    failed = await refusal(announcer, work(asked))

    assert isinstance(failed, SlackRetryableError)
    assert failed.wait == (7.0 if isinstance(answer, RateLimited) else None)
    assert [call.method for call in slack.calls] == [POST]


# --- response_url ---------------------------------------------------------------------------------------


async def test_where_the_bot_may_not_post_a_response_url_carries_the_message(
    slack: SandboxSlack, announcer: Delivery
) -> None:
    """Everyone in the channel sees it, and nothing is replaced."""
    delivery = await announcer.announce(in_ops(await asker(slack, 7)), HELLO, thread=True)
    [message] = slack.messages

    assert delivery == Delivered(ts="", responder=7)
    assert (message.channel, message.via, message.user) == (OPS, "response_url", None)
    assert (message.text, message.blocks) == (HELLO.text, HELLO.blocks)
    assert slack.calls[-1].args["replace_original"] is False


@pytest.mark.parametrize("code", sorted(TOKEN_FAULTS))
async def test_a_token_that_slack_refuses_is_not_needed_for_it(
    slack: SandboxSlack, announcer: Delivery, code: str
) -> None:
    """What was promised is kept even after the token was revoked."""
    asked = await asker(slack, channel=MODELS)
    slack.fail(POST, code)
    delivery = await announcer.announce(work(asked), HELLO)

    assert (delivery.responder, slack.messages[0].via) == (1, "response_url")


@pytest.mark.parametrize("code", sorted(TOKEN_FAULTS))
async def test_without_a_response_url_a_token_may_be_mended(
    slack: SandboxSlack, announcer: Delivery, code: str
) -> None:
    """So the message is tried again, and not given up."""
    slack.fail(POST, code)
    failed = await refusal(announcer, work(watcher()))

    assert (type(failed), failed.code) == (SlackRetryableError, code)


async def test_the_newest_response_url_is_used_first(slack: SandboxSlack, announcer: Delivery) -> None:
    """It lasts the longest; a spent one falls to the next."""
    old, new = await asker(slack, 1, ADA, age=600), await asker(slack, 2, BEN, age=60)
    item = in_ops(old, new)
    first = await announcer.announce(item, HELLO)
    slack.spend(new.response_url)
    second = await announcer.announce(item, HELLO)

    assert (first.responder, second.responder) == (2, 1)


async def test_one_that_is_old_or_used_up_is_not_even_tried(slack: SandboxSlack, announcer: Delivery) -> None:
    """As far as is known: five uses in half an hour, and none at all where the command brought none."""
    aged, used = await asker(slack, 1, age=1800), replace(await asker(slack, 2), response_uses=5)
    failed = await refusal(announcer, in_ops(aged, used, watcher(3, BEN, OPS)))

    assert (type(failed), failed.code) == (SlackPermanentError, "channel_not_found")
    assert [call.method for call in slack.calls] == [POST]


async def test_the_edge_of_what_is_fresh_is_still_tried(slack: SandboxSlack, announcer: Delivery) -> None:
    """The fifth use, a second before half an hour is over."""
    asked = replace(await asker(slack, 1, age=1799), response_uses=4)

    assert (await announcer.announce(in_ops(asked), HELLO)).responder == 1


async def test_one_from_another_channel_leads_elsewhere(slack: SandboxSlack, announcer: Delivery) -> None:
    """A message for one channel is never told in another."""
    failed = await refusal(announcer, in_ops(await asker(slack, 1, channel=MODELS), watcher(2, BEN, OPS)))

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
async def test_one_that_does_not_take_the_message_falls_to_the_next(
    slack: SandboxSlack, announcer: Delivery, answer: Answer | str
) -> None:
    """Whatever is no plain success; a redirect is not followed, and is none."""
    older, newer = await asker(slack, 1, age=600), await asker(slack, 2, BEN)
    slack.fail(RESPONSE_URL, answer, times=1)

    assert (await announcer.announce(in_ops(older, newer), HELLO)).responder == 1
    assert len(slack.messages) == 1


async def test_where_none_takes_it_the_first_reason_stands(slack: SandboxSlack, announcer: Delivery) -> None:
    """The step's next way is a DM, for the reason that the channel gave."""
    slack.fail(RESPONSE_URL, "expired_url")
    failed = await refusal(announcer, in_ops(await asker(slack, 1), await asker(slack, 2, BEN)))

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
async def test_one_that_may_work_later_is_waited_for(
    slack: SandboxSlack,
    announcer: Delivery,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    code: str,
    wait: float | None,
) -> None:
    """Slack's outages and limits hold for every response_url alike."""
    asked = await asker(slack)
    monkeypatch.setattr("bot.slack.client.RESPOND_SECONDS", 0.2)
    slack.fail(RESPONSE_URL, answer)
    failed = await refusal(announcer, in_ops(asked, await asker(slack, 2, BEN)))

    assert isinstance(failed, SlackRetryableError)
    assert (failed.code, failed.wait) == (code, wait)


@pytest.mark.parametrize("answer", [Reset(), AcceptThenReset()], ids=repr)
async def test_a_broken_connection_is_tried_again(slack: SandboxSlack, announcer: Delivery, answer: Answer) -> None:
    """At-least-once: nobody can tell whether it had been taken."""
    asked = await asker(slack)
    slack.fail(RESPONSE_URL, answer)
    failed = await refusal(announcer, in_ops(asked))

    assert isinstance(failed, SlackRetryableError)
    assert failed.code.startswith("response_url_")
    assert asked.response_url not in str(failed)


# --- a DM, and an edit ----------------------------------------------------------------------------------


async def test_a_person_can_be_told_directly(slack: SandboxSlack, announcer: Delivery) -> None:
    """In the DM between them and the bot."""
    await announcer.direct(BEN, HELLO)
    [message] = slack.messages

    assert (message.via, message.user, message.text, message.blocks) == ("dm", BEN, HELLO.text, HELLO.blocks)


async def test_a_person_who_cannot_be_told_directly_cannot_be_told(slack: SandboxSlack, announcer: Delivery) -> None:
    """The app may not be allowed to, or the person may not exist."""
    slack.messages_tab = False
    with pytest.raises(SlackPermanentError, match="messages_tab_disabled"):
        await announcer.direct(BEN, HELLO)
    with pytest.raises(SlackPermanentError, match="user_not_found"):
        await announcer.direct("X0NOBODY", HELLO)

    assert slack.messages == []


@pytest.mark.parametrize("channel", [None, [], "D0BEN", {}, {"id": None}, {"id": 7}], ids=repr)
async def test_a_dm_that_was_not_opened_may_be_later(slack: SandboxSlack, announcer: Delivery, channel: object) -> None:
    """An answer that names no channel makes no sense."""
    slack.fail("conversations.open", Json(200, {"ok": True, "channel": channel}))

    with pytest.raises(SlackRetryableError, match="no_channel_opened"):
        await announcer.direct(BEN, HELLO)


async def test_what_the_bot_posted_it_can_edit(slack: SandboxSlack, announcer: Delivery) -> None:
    """Text and blocks are replaced, as often as it takes."""
    posted = await announcer.announce(work(watcher()), HELLO)
    closed = Message("✓ `sdxl`")
    for _ in range(2):
        await announcer.edit(MODELS, posted.ts, closed)
    [message] = slack.messages

    assert (message.text, message.blocks) == (closed.text, closed.blocks)


async def test_what_is_gone_cannot_be_edited(announcer: Delivery) -> None:
    """That is no reason to post it anew."""
    with pytest.raises(SlackPermanentError, match="message_not_found"):
        await announcer.edit(MODELS, "1.0", HELLO)


# --- a message a second ---------------------------------------------------------------------------------


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
    """The pacer under test."""
    return Pacer(clock)


def test_messages_in_a_channel_are_a_second_apart(pacer: Pacer) -> None:
    """Turns are handed out in the order in which steps ask."""
    assert [pacer.wait(number, MODELS) for number in range(4)] == [0, 1, 2, 3]


def test_no_channel_waits_for_another(pacer: Pacer) -> None:
    """The limit is one of channels."""
    pacer.wait(1, MODELS)

    assert pacer.wait(2, OPS) == 0


def test_a_turn_is_kept_until_it_is_taken(pacer: Pacer, clock: Clock) -> None:
    """A step that asks again, early, on time or late, keeps the turn that it was given."""
    waits = [pacer.wait(1, MODELS), pacer.wait(2, MODELS), pacer.wait(3, MODELS)]
    clock.now += 0.25
    waits += [pacer.wait(2, MODELS), pacer.wait(3, MODELS)]
    clock.now += 0.75
    waits += [pacer.wait(2, MODELS), pacer.wait(3, MODELS)]
    clock.now += 5
    waits += [pacer.wait(3, MODELS), pacer.wait(4, MODELS), pacer.wait(5, MODELS)]

    assert waits == [0, 1, 2, 0.75, 1.75, 0, 1, 0, 0, 1]


def test_a_channel_that_slack_has_limited_is_left_alone(pacer: Pacer, clock: Clock) -> None:
    """For as long as Slack says, and other channels are not."""
    pacer.hold(MODELS, 30)
    pacer.hold(MODELS, 10)
    waits = [pacer.wait(1, MODELS), pacer.wait(2, MODELS), pacer.wait(3, OPS)]
    clock.now += 30
    waits += [pacer.wait(1, MODELS), pacer.wait(2, MODELS)]

    assert waits == [30, 31, 0, 0, 1]


def test_no_word_closes_a_channel_for_good(pacer: Pacer) -> None:
    """An absurd figure is believed for five minutes."""
    pacer.hold(MODELS, 1e300)

    assert pacer.wait(1, MODELS) == 300


def test_a_hold_that_is_over_is_no_matter(pacer: Pacer, clock: Clock) -> None:
    """As is one of no time."""
    pacer.hold(MODELS, 0)
    pacer.hold(OPS, 5)
    clock.now += 5

    assert (pacer.wait(1, MODELS), pacer.wait(2, OPS)) == (0, 0)


def test_what_is_remembered_does_not_grow_for_ever(pacer: Pacer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that are free and turns that nobody took are forgotten; what is going on is not."""
    monkeypatch.setattr("bot.worker.delivery._REMEMBERED", 3)
    for number in range(100):
        pacer.wait(number, f"C{number}")
        pacer.wait(1000 + number, f"C{number}")
        clock.now += 70
    pacer.wait(1, MODELS)
    pacer.wait(2, MODELS)
    pacer.wait(3, OPS)

    assert len(vars(pacer)["_free_at"]) <= 5
    assert len(vars(pacer)["_turns"]) <= 5
    assert (pacer.wait(2, MODELS), pacer.wait(4, MODELS)) == (1, 2)
