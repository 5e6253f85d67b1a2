"""What the bot says about one reload: each message as people read it, within Slack's limits, with nothing to abuse."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import ActionsBlock, Block, ContextBlock, SectionBlock

from bot.core.command import MAX_ID, MODEL_ID
from bot.core.models import DAY, ListedReload, Place, Reload, Reminder, State, Subscriber, Viewer
from bot.core.text import SAID_LIMIT
from bot.errors import Failure
from bot.ui import lists, messages
from bot.ui.buttons import Action
from bot.ui.messages import MENTIONS_LIMIT, Message
from bot.ui.reasons import FAILURES
from tests.samples import ACCEPTED, BEN, MODELS, NOON, OPS, RELOAD, subscriber
from tests.ui.pressed import pressed

ADA_REQUESTED, BEN_REQUESTED = subscriber(), subscriber(2, BEN)
FAILED = replace(RELOAD, state=State.NOTIFYING, failure=Failure.REFUSED, said="no & never")
AT_1202 = "<!date^1700049720^{time}|12:02 UTC>"
AT_1202_01 = "<!date^1700049721^{time}|12:02 UTC>"

words = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]), max_size=300)


def every_message(
    reload: Reload = ACCEPTED,
    said: str = "because",
    similar: Sequence[str] = ("sd-xl",),
    requester: Subscriber = ADA_REQUESTED,
) -> dict[str, Message]:
    """Every message with blocks that there is about a reload, by what it is."""
    people = [requester, BEN_REQUESTED]
    failed = replace(reload, failure=Failure.REFUSED, said=said, similar=similar, outcome_unknown=True)
    ended = replace(reload, state=State.DONE, ended_at=NOON + 121)
    viewer, later = Viewer(requester.user_id, Place(requester.channel_id)), NOON + 7200
    return {
        "running": lists.running([ListedReload(reload, people, NOON)] * 20, 99, 120, viewer),
        "history": lists.history(
            [ListedReload(failed, people, later)] * 9 + [ListedReload(ended, people, later)], 120, viewer
        ),
        "status": messages.status(reload, people, requester, NOON + 41),
        "trouble": messages.trouble(reload, people, NOON + 600),
        "closed": messages.closed(reload, people),
        "closed_long_ago": messages.closed(replace(reload, undeliverable=True), people, again=True),
        "closed_failed": messages.closed(failed, people),
        "follow_up": messages.follow_up([reload], people, late=False),
        "follow_up_late": messages.follow_up([reload], people, late=True),
        "failure": messages.failure(failed, people),
        "uncertain": messages.uncertain(reload, people),
        "reminder": messages.reminder(reload, requester.channel_id, NOON + 6.5 * DAY),
        "reminder_late": messages.reminder(reload, requester.channel_id, NOON + 9 * DAY),
    }


def every_text(reload: Reload = ACCEPTED, said: str = "because") -> dict[str, str]:
    """Every text there is about a reload, by what it is."""
    return {name: message.text for name, message in every_message(reload, said).items()} | {
        "reloading": messages.reloading(reload, 120),
        "joined": messages.joined(reload, ADA_REQUESTED, Viewer(BEN, Place(MODELS)), 120),
        "already_subscribed": messages.already_subscribed(reload, 120),
        "help": messages.help_text("/reload-model"),
    }


def test_the_ack_says_what_was_understood_and_when_to_expect_a_ping() -> None:
    """In the reader's own time zone."""
    assert messages.reloading(RELOAD, 120) == f"Reloading `sdxl`. I'll ping you here around {AT_1202}."


def test_the_ack_of_a_joined_reload_names_its_requester_only_to_people_who_could_see_the_request() -> None:
    """That is in the same channel."""
    rest = f" is already reloading `sdxl`. I'll ping you here around {AT_1202_01}."

    assert messages.joined(ACCEPTED, ADA_REQUESTED, Viewer(BEN, Place(MODELS)), 120) == f"<@U0ADA>{rest}"
    assert messages.joined(ACCEPTED, ADA_REQUESTED, Viewer(BEN, Place(OPS)), 120) == f"A colleague{rest}"


def test_the_ack_of_a_second_request_says_so() -> None:
    """Nobody is on the list twice."""
    assert messages.already_subscribed(ACCEPTED, 120) == f"You're already on the list for `sdxl`, around {AT_1202_01}."


def test_the_time_is_counted_from_the_request_until_modelslab_accepts() -> None:
    """Afterwards it is what was recorded."""
    assert messages.expected(RELOAD, 60) == NOON + 60
    assert messages.expected(ACCEPTED, 60) == NOON + 121


def test_the_status_message_says_who_what_and_when_once() -> None:
    """In a channel that joined, the first requester there is waiting for it."""
    rest = f"`sdxl` · ready around {AT_1202_01} (1 min 40 s left)"
    here, there = ([ADA_REQUESTED, BEN_REQUESTED], [subscriber(2, BEN, OPS)])

    assert messages.status(ACCEPTED, here, ADA_REQUESTED, NOON + 21).text == f"<@U0ADA> is reloading {rest}"
    assert messages.status(ACCEPTED, there, ADA_REQUESTED, NOON + 21).text == f"<@U0BEN> is waiting for {rest}"
    assert pressed(messages.status(ACCEPTED, there, ADA_REQUESTED, NOON)) == [
        ("Notify me too", Action.JOIN, "r4x7", OPS)
    ]


def test_the_trouble_report_says_until_when_the_bot_tries() -> None:
    """And blames ModelsLab, not the requester."""
    message = messages.trouble(RELOAD, [ADA_REQUESTED], NOON + 120)

    assert message.text == (
        f"<@U0ADA> is waiting for `sdxl`. ModelsLab is busy or having problems. I'll keep trying until {AT_1202}."
    )
    assert pressed(message) == [("Notify me too", Action.JOIN, "r4x7", MODELS)]


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (-1, "a few seconds left"),
        (4.9, "a few seconds left"),
        (5, "5 s left"),
        (33, "35 s left"),
        (59.9, "1 min left"),
        (64, "1 min left"),
        (100, "1 min 40 s left"),
        (596, "10 min left"),
        (3629, "60 min left"),
    ],
)
def test_the_time_left_is_as_exact_as_it_is_known(seconds: float, left: str) -> None:
    """Nobody knows it to the second."""
    assert messages.left(seconds) == left


@pytest.mark.parametrize(
    ("passed", "bar"),
    [
        (-3, "░░░░░░░░░░ 0 %"),
        (0, "░░░░░░░░░░ 0 %"),
        (49.2, "▓▓▓▓░░░░░░ 41 %"),
        (119.9, "▓▓▓▓▓▓▓▓▓░ 99 %"),
        (500, "▓▓▓▓▓▓▓▓▓▓ 100 %"),
    ],
)
def test_the_bar_draws_the_time_that_has_passed(passed: float, bar: str) -> None:
    """From the acceptance to when the model should be ready; it is full only when that has come."""
    assert messages.bar(ACCEPTED, NOON + 1 + passed) == bar
    assert messages.bar(replace(ACCEPTED, ready_at=NOON + 1), NOON + 1).endswith(" 100 %")


@pytest.mark.parametrize(
    ("reload", "how", "buttons"),
    [
        (ACCEPTED, f"✓ `sdxl` · should be ready since {AT_1202_01}", []),
        (replace(ACCEPTED, undeliverable=True), "✗ `sdxl` · couldn't notify everyone", []),
        (
            replace(ACCEPTED, failure=Failure.UNKNOWN_MODEL, similar=("sd-xl",)),
            "✗ `sdxl` · no such model",
            ["sd-xl", "Try again"],
        ),
    ],
)
def test_the_status_message_is_closed_in_the_end(reload: Reload, how: str, buttons: list[str]) -> None:
    """It no longer reads as if something were going on, and a failure can be tried again at once."""
    message = messages.closed(reload, [ADA_REQUESTED, BEN_REQUESTED])

    assert message.text == f"{how} · requested by <@U0ADA>"
    assert [label for label, *_ in pressed(message)] == buttons


def test_a_reload_can_be_repeated_after_a_while() -> None:
    """In the channel in which it was requested."""
    again = pressed(messages.closed(ACCEPTED, [ADA_REQUESTED], again=True))

    assert again == [("Reload again", Action.AGAIN, "sdxl", MODELS)]


def test_the_follow_up_mentions_everyone_once() -> None:
    """However often they requested it."""
    people = [ADA_REQUESTED, BEN_REQUESTED, subscriber(3)]

    assert messages.follow_up([ACCEPTED], people, late=False).text == "<@U0ADA> <@U0BEN> `sdxl` should be ready now."
    assert pressed(messages.follow_up([ACCEPTED], people, late=True)) == [
        ("Remind me before it's unloaded", Action.REMIND, "r4x7", MODELS)
    ]


def test_a_late_follow_up_says_so() -> None:
    """After the bot was down, the time it was due tells how late."""
    assert messages.follow_up([ACCEPTED], [ADA_REQUESTED], late=True).text == (
        f"<@U0ADA> `sdxl` should be ready now. Sorry, this is late: it was due at {AT_1202_01}."
    )


def test_a_failure_says_why_and_what_to_do() -> None:
    """ModelsLab's own words, escaped, and the ID for the operator stand in small print."""
    message = messages.failure(FAILED, [ADA_REQUESTED, BEN_REQUESTED])

    assert message.headline == (
        "<@U0ADA> <@U0BEN> `sdxl` was not reloaded: ModelsLab refused the request. "
        "If it keeps doing that, contact ModelsLab support."
    )
    assert message.small_print == "`no &amp; never` · reload `r4x7`"
    assert message.text == f"{message.headline} ({message.small_print})"


@pytest.mark.parametrize(
    ("similar", "advice"),
    [
        ([], "Check the ID on ModelsLab, then try again."),
        (["sd-xl"], "Did you mean `sd-xl`?"),
        (["sd-xl", "sdxl2", "org/sdxl"], "Did you mean `sd-xl`, `sdxl2` or `org/sdxl`?"),
    ],
)
def test_a_failure_names_what_may_have_been_meant(similar: list[str], advice: str) -> None:
    """In two lines on a phone, so without small print. Each has a button, before the one that tries the same again."""
    unknown = replace(FAILED, failure=Failure.UNKNOWN_MODEL, said="Model not found", similar=similar)
    message = messages.failure(unknown, [ADA_REQUESTED])

    assert message.headline == f"<@U0ADA> `sdxl` was not reloaded: no such model. {advice}"
    assert message.small_print == ""
    assert pressed(message) == [
        *((id_, Action.AGAIN, id_, MODELS) for id_ in similar),
        ("Try again", Action.AGAIN, "sdxl", MODELS),
    ]


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_its_sentences(failure: Failure) -> None:
    """Without words of ModelsLab's they still end."""
    headline = messages.failure(replace(FAILED, failure=failure, said=""), [ADA_REQUESTED]).headline

    assert headline == f"<@U0ADA> `sdxl` was not reloaded: {FAILURES[failure].why}. {FAILURES[failure].fix}"


def test_a_failure_has_the_reload_id_for_the_operator() -> None:
    """In small print, even if ModelsLab said nothing."""
    assert messages.failure(replace(FAILED, said=""), [ADA_REQUESTED]).small_print == "reload `r4x7`"


def test_a_failure_after_an_unknown_outcome_says_so() -> None:
    """A request may be refused only because an earlier one worked: so it may already be reloading."""
    text = messages.failure(replace(FAILED, outcome_unknown=True), [ADA_REQUESTED]).text

    assert "request. An earlier request got no clear answer, so the model may already be reloading: try it in" in text


def test_a_failure_of_unknown_cause_is_the_bots_own() -> None:
    """A row without a cause blames nobody else."""
    assert FAILURES[Failure.INTERNAL].why in messages.failure(replace(FAILED, failure=None), [ADA_REQUESTED]).text


def test_the_last_resort_has_nothing_that_can_go_wrong() -> None:
    """Where no message could be made, no button can."""
    assert messages.uncertain(ACCEPTED, [ADA_REQUESTED]).buttons == ()


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (6.01, "reloaded 6 days ago. If nobody has used it since, ModelsLab will unload it tomorrow."),
        (6.99, "reloaded 6 days ago. If nobody has used it since, ModelsLab will unload it tomorrow."),
        (7.0, "reloaded 7 days ago. If nobody has used it since, it may have been unloaded by now."),
        (30.5, "reloaded 30 days ago. If nobody has used it since, it may have been unloaded by now."),
    ],
)
def test_a_reminder_says_what_is_known_of_time(days: float, text: str) -> None:
    """One that is late, as after the bot was down, promises nothing that may be over."""
    message = messages.reminder(ACCEPTED, OPS, NOON + 121 + days * DAY)

    assert message.text == f"`sdxl` was {text}"
    assert pressed(message) == [
        ("Reload now", Action.AGAIN, "sdxl", OPS),
        ("Stop reminding", Action.STOP_REMINDING, "sdxl", OPS),
    ]


def test_a_reminder_is_confirmed_with_its_day() -> None:
    """Or, where it was given, with when the next one comes."""
    due = Reminder("sdxl", "r4x7", MODELS, 1700049720.0, 1700568120.0)
    on = "<!date^1700568120^{date_short} at {time}|21 Nov at 12:02 UTC>"

    assert messages.will_remind(due) == f"I'll remind you about `sdxl` on {on}, unless it's reloaded first."
    assert messages.will_remind(replace(due, due_at=None)) == (
        "I've already reminded you about `sdxl`. I'll do it again after the next reload."
    )


def test_help_names_every_way_to_ask() -> None:
    """Threads, too, where Slack has no slash commands."""
    text = messages.help_text("/reload-model-dev")

    assert all(f"`/reload-model-dev{end}`" in text for end in ("", " sdxl", " sdxl flux", " status", " history"))
    assert "`@reload-model sdxl` does the same in a thread" in text


def test_a_button_below_a_message_says_its_model_to_screen_readers() -> None:
    """Its short label only makes sense beside the text."""
    ended, failed = messages.closed(ACCEPTED, [ADA_REQUESTED], again=True), messages.failure(FAILED, [ADA_REQUESTED])
    reminder = messages.reminder(ACCEPTED, OPS, NOON + 7 * DAY)

    assert [button.element().accessibility_label for each in (ended, failed, reminder) for button in each.buttons] == [
        "Reload sdxl again",
        "Try sdxl again",
        "Reload sdxl now",
        "Stop reminding me about sdxl",
    ]


def test_only_the_follow_up_says_now() -> None:
    """ModelsLab confirms nothing, so these words mean that the time is up, and nothing else may say them."""
    said = every_text()

    assert {name for name, text in said.items() if "should be ready now" in text} == {"follow_up", "follow_up_late"}
    assert not [text for text in said.values() if " is ready" in text]


def sections(message: Message) -> list[str]:
    """The texts of a message's blocks, once Slack's own SDK has found nothing wrong with them."""
    texts: list[str] = []
    for block in message.blocks:
        parsed = Block.parse(json.loads(json.dumps(block)))
        assert parsed is not None
        assert parsed.to_dict() == block
        if isinstance(parsed, SectionBlock):
            assert parsed.text is not None
            texts.append(parsed.text.text)
        else:
            assert isinstance(parsed, ActionsBlock | ContextBlock)
    return texts


def long_failure(people: list[Subscriber], said: str) -> Message:
    """The longest message there is."""
    similar = [letter * MAX_ID for letter in "abc"]
    reload = replace(FAILED, model_id="m" * MAX_ID, said=said, failure=Failure.NO_ANSWER, similar=similar)
    return messages.failure(replace(reload, outcome_unknown=True), people)


@pytest.mark.parametrize("length", [9, 11, 25, 64])
@pytest.mark.parametrize("said", ["", "&" * 500, "🐢" * 500, "a word " * 99])
def test_a_message_to_a_crowd_keeps_slacks_limits(length: int, said: str) -> None:
    """However many people, with IDs however long, each section and all of them together fit."""
    crowd = [subscriber(number, f"U{number:0{length - 1}d}", "C" * 64) for number in range(1000)]
    message = long_failure(messages.mentioned(crowd), said)

    assert max(map(len, sections(message))) <= 3000
    assert len(message.blocks) <= 50
    assert len(json.dumps(message.blocks)) <= 13_200
    assert len(message.text) <= 40_000


@pytest.mark.parametrize(
    "message",
    every_message(
        replace(ACCEPTED, model_id="m" * MAX_ID),
        similar=[letter * MAX_ID for letter in "abc"],
        requester=subscriber(user_id="U" * 64, channel_id="C" * 64),
    ).values(),
    ids=every_message(),
)
def test_every_message_of_the_longest_ids_keeps_slacks_limits(message: Message) -> None:
    """Slack's own SDK finds nothing wrong with it, all of it fits, and the text says all that its sections say."""
    texts = sections(message)
    pressed(message)

    assert " ".join(texts).split() == message.headline.split()
    assert max(map(len, texts)) <= 3000
    assert len(message.blocks) <= 50
    assert len(json.dumps(message.blocks)) <= 13_200


def test_one_message_mentions_four_hundred_people_of_today() -> None:
    """Ids have eleven characters; somebody who requested it twice is one person."""
    crowd = [subscriber(number, f"U{number:010d}") for number in range(MENTIONS_LIMIT + 1)]
    audience = messages.mentioned([*crowd, subscriber(9000, "U0000000007"), subscriber(9001, "U0000000400")])

    assert audience == [*crowd[:MENTIONS_LIMIT], subscriber(9000, "U0000000007")]


def test_somebody_is_always_mentioned() -> None:
    """For IDs of any length, each message leaves fewer people over."""
    assert messages.mentioned([subscriber(user_id="U" * 64)]) == [subscriber(user_id="U" * 64)]
    assert messages.mentioned([]) == []


@given(said=words, ids=st.lists(st.from_regex(r"U[A-Z0-9]{1,63}", fullmatch=True), min_size=1, max_size=90))
def test_the_fallback_text_says_all_that_the_blocks_say(said: str, ids: list[str]) -> None:
    """Sections are the text, broken between words: no mention, time or piece of code is torn apart."""
    message = long_failure([subscriber(number, user) for number, user in enumerate(ids)], said)
    texts = sections(message)

    assert " ".join(texts).split() == message.headline.split()
    assert all(text.count("`") % 2 == 0 for text in texts)
    assert all(text.count("<") == text.count(">") for text in texts)


@pytest.mark.parametrize("shift", range(60))
def test_a_time_is_never_torn_apart(shift: int) -> None:
    """A time holds spaces; wherever a section ends, it does not end within one."""
    crowd = [subscriber(number, f"U{number:05d}") for number in range(289)]
    last = subscriber(999, "U" * (shift + 2))
    texts = sections(messages.follow_up([ACCEPTED], [*crowd, last], late=True))

    assert [text for text in texts if AT_1202_01 in text]


@given(model_id=st.from_regex(MODEL_ID, fullmatch=True), said=words)
def test_nothing_from_outside_is_markup(model_id: str, said: str) -> None:
    """Of all that could mention, link or format, only our own mentions and times are left."""
    for text in every_text(replace(ACCEPTED, model_id=model_id), said).values():
        ours = re.compile(
            r"<@U0(ADA|BEN)>|<!date\^\d+\^(\{date_short(_pretty)?\} at )?\{time\}\|(\d+ \w{3} at )?\d\d:\d\d UTC>"
        )
        rest = ours.sub("", text)

        assert not {"<", ">"} & set(rest)
        assert rest.count("`") % 2 == 0


@given(words)
def test_modelslabs_own_words_are_bounded_and_on_one_line(said: str) -> None:
    """What a service answers may be long, and may hold what turns text around."""
    text = messages.failure(replace(FAILED, said=said), [ADA_REQUESTED]).text

    assert len(text.splitlines()) == 1
    assert len(text) < 300 + SAID_LIMIT * len("&amp;")
