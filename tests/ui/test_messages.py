"""What the bot says, in one voice: each message as people read it, within Slack's limits, with nothing to abuse."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import ActionsBlock, Block, ButtonElement, ContextBlock, SectionBlock

from bot.core.command import MAX_ID, MODEL_ID
from bot.core.models import DAY, ListedReload, Reload, Reminder, State, Subscriber
from bot.core.text import SAID_LIMIT
from bot.errors import Failure
from bot.ui import buttons, messages
from bot.ui.buttons import Action
from bot.ui.messages import MENTIONS_LIMIT, Message
from bot.ui.reasons import FAILURES
from tests.samples import ACCEPTED, BEN, MODELS, NOON, OPS, RELOAD, subscriber

ADA_ASKED, BEN_ASKED = subscriber(), subscriber(2, BEN)
FAILED = replace(RELOAD, state=State.NOTIFYING, failure=Failure.REFUSED, said="no & never")
DONE = replace(ACCEPTED, state=State.DONE, ended_at=NOON + 122)
AT_1202 = "<!date^1700049720^{time}|12:02 UTC>"
AT_1202_01 = "<!date^1700049721^{time}|12:02 UTC>"
ASKED = "<!date^1700049600^{date_short_pretty} {time}|15 Nov, 12:00 UTC>"

# What Slack takes in the blocks of one message, as found in https://github.com/slackapi/bolt-js/issues/2509.
BLOCKS_LIMIT = 13_200

words = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]), max_size=300)


def every_message(
    reload: Reload = ACCEPTED, said: str = "because", near: Sequence[str] = ("sd-xl",), asker: Subscriber = ADA_ASKED
) -> dict[str, Message]:
    """Every message with blocks that there is about a reload, by what it is."""
    audience = [asker, BEN_ASKED]
    failed = replace(reload, failure=Failure.REFUSED, said=said, outcome_unknown=True)
    ended = replace(reload, state=State.DONE, ended_at=NOON + 121)
    later = NOON + 7200
    channel = asker.channel_id
    return {
        "in_flight": messages.in_flight([ListedReload(reload, asker, 2, NOON)] * 20, 99, 120, channel),
        "history": messages.history(
            [ListedReload(ended, asker, 2, later), ListedReload(failed, asker, 1, later)] * 5, 120, channel
        ),
        "status": messages.status(reload, audience, asker, NOON + 41),
        "closed": messages.closed(reload, audience),
        "closed_long_ago": messages.closed(replace(reload, undeliverable=True), audience, again=True),
        "follow_up": messages.follow_up(reload, audience, late=False),
        "follow_up_late": messages.follow_up(reload, audience, late=True),
        "failure": messages.failure(failed, audience, near),
        "stumbled": messages.stumbled(reload, audience),
        "reminder": messages.reminder(reload, channel, NOON + 6.5 * DAY),
        "reminder_late": messages.reminder(reload, channel, NOON + 9 * DAY),
    }


def everything_said(reload: Reload = ACCEPTED, said: str = "because") -> dict[str, str]:
    """Every text there is about a reload, by what it is."""
    return {name: message.text for name, message in every_message(reload, said).items()} | {
        "reloading": messages.reloading(reload, 120),
        "joined": messages.joined(reload, ADA_ASKED, BEN, MODELS, 120),
        "help": messages.help_text(),
    }


def test_the_ack_says_what_was_understood_and_what_happens_next() -> None:
    """It carries the reload's short id, and a time in the reader's own zone."""
    assert messages.reloading(RELOAD, 120) == (
        f"Reloading `sdxl` (reload `r4x7`). It should be ready about {AT_1202}; I will mention you here then."
    )


def test_who_asked_first_is_named_to_those_who_could_see_it() -> None:
    """In the same channel by mention, elsewhere as a colleague; oneself as you."""
    rest = f" It should be ready about {AT_1202_01}; I will mention you here then."
    already = "`sdxl` is being reloaded already (reload `r4x7`), asked for by"

    assert messages.joined(ACCEPTED, ADA_ASKED, BEN, MODELS, 120) == f"{already} <@U0ADA>.{rest}"
    assert messages.joined(ACCEPTED, ADA_ASKED, BEN, OPS, 120) == f"{already} a colleague.{rest}"
    assert messages.joined(ACCEPTED, ADA_ASKED, "U0ADA", OPS, 120) == f"{already} you.{rest}"


def test_before_modelslab_accepts_the_time_is_counted_from_the_asking() -> None:
    """Afterwards it is what was recorded."""
    assert messages.expected(RELOAD, 60) == NOON + 60
    assert messages.expected(ACCEPTED, 60) == NOON + 121


def test_status_lists_what_is_in_flight() -> None:
    """Each with its model, id, asker, and how far it is."""
    entries = [
        ListedReload(RELOAD, ADA_ASKED, 1),
        ListedReload(ACCEPTED, ADA_ASKED, 3),
        ListedReload(FAILED, ADA_ASKED, 2),
    ]

    assert messages.in_flight(entries, 5, 120).text == (
        "Being reloaded: 5\n"
        f"• `sdxl` (`r4x7`) · <@U0ADA>, {ASKED} · ModelsLab has not accepted it yet\n"
        f"• `sdxl` (`r4x7`) · <@U0ADA> and 2 more, {ASKED} · should be ready about {AT_1202_01}\n"
        f"• `sdxl` (`r4x7`) · <@U0ADA> and 1 more, {ASKED} · over, its askers are being told\n"
        "… and 2 more"
    )
    assert "more" not in messages.in_flight(entries[:1], 1, 120).text
    assert messages.in_flight([], 0, 120, MODELS) == Message("Nothing is being reloaded.")


def test_history_lists_what_has_ended() -> None:
    """How each went, and whether somebody could not be told."""
    entries = [
        ListedReload(DONE, ADA_ASKED, 1),
        ListedReload(replace(DONE, undeliverable=True), ADA_ASKED, 1),
        ListedReload(replace(FAILED, undeliverable=True), ADA_ASKED, 1),
    ]

    assert messages.history(entries).text == (
        "The last reloads:\n"
        f"• `sdxl` (`r4x7`) · <@U0ADA>, {ASKED} · ✓ expected ready {AT_1202_01}\n"
        f"• `sdxl` (`r4x7`) · <@U0ADA>, {ASKED} · ✓ expected ready {AT_1202_01} (not everyone could be told)\n"
        f"• `sdxl` (`r4x7`) · <@U0ADA>, {ASKED} · ✗ ModelsLab refused the request (not everyone could be told)"
    )
    assert messages.history([], 120, MODELS) == Message("Nothing has been reloaded yet.")


def test_what_is_in_flight_can_be_watched_by_a_press() -> None:
    """Until its end is being told; without a channel to tell it in there is no button."""
    entries = [
        ListedReload(RELOAD, ADA_ASKED, 1),
        ListedReload(ACCEPTED, ADA_ASKED, 1),
        ListedReload(FAILED, ADA_ASKED, 1),
    ]

    assert pressed(messages.in_flight(entries, 3, 120, OPS)) == [("Notify me too", Action.JOIN, "r4x7", OPS)] * 2
    assert pressed(messages.in_flight(entries, 3, 120)) == []


def test_what_ended_a_while_ago_can_be_reloaded_by_a_press() -> None:
    """Five times as long ago as a reload takes, not before; without a channel to tell it in there is no button."""
    young, old = (
        ListedReload(replace(DONE, model_id=id_), ADA_ASKED, 1, NOON + 122 + s) for id_, s in (("a", 599), ("b", 600))
    )

    assert pressed(messages.history([young, old], 120, OPS)) == [("Reload again", Action.AGAIN, "b", OPS)]
    assert pressed(messages.history([replace(old, reload=replace(old.reload, failure=Failure.DOWN))], 120, OPS)) == [
        ("Try again", Action.AGAIN, "b", OPS)
    ]
    assert pressed(messages.history([old], 120)) == []
    assert pressed(messages.history([replace(old, reload=ACCEPTED)], 120, OPS)) == []


def test_the_status_message_says_who_is_reloading_what() -> None:
    """In its own channel the first asker is reloading it; in another one the first there waits for it."""
    rest = f" · about 1 min 40 s left · should be ready about {AT_1202_01} · reload `r4x7`"
    here, there = ([ADA_ASKED, BEN_ASKED], [subscriber(2, BEN, OPS)])

    assert messages.status(ACCEPTED, here, ADA_ASKED, NOON + 21).text == f"<@U0ADA> is reloading `sdxl`{rest}"
    assert messages.status(ACCEPTED, there, ADA_ASKED, NOON + 21).text == (
        f"<@U0BEN> waits for `sdxl`, which is being reloaded{rest}"
    )
    assert pressed(messages.status(ACCEPTED, there, ADA_ASKED, NOON)) == [("Notify me too", Action.JOIN, "r4x7", OPS)]


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (-1, "a few seconds left"),
        (4.9, "a few seconds left"),
        (5, "about 5 s left"),
        (33, "about 35 s left"),
        (59.9, "about 1 min left"),
        (64, "about 1 min left"),
        (100, "about 1 min 40 s left"),
        (596, "about 10 min left"),
        (3629, "about 60 min left"),
    ],
)
def test_the_time_left_is_as_exact_as_it_is_known(seconds: float, left: str) -> None:
    """Nobody knows it to the second."""
    assert f" · {left} · should" in messages.status(ACCEPTED, [ADA_ASKED], ADA_ASKED, NOON + 121 - seconds).text


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
    assert messages.status(ACCEPTED, [ADA_ASKED], ADA_ASKED, NOON + 1 + passed).bar == bar
    assert messages.status(replace(ACCEPTED, ready_at=NOON + 1), [ADA_ASKED], ADA_ASKED, NOON + 1).bar[-5:] == "100 %"


def test_the_status_message_is_closed_in_the_end() -> None:
    """It no longer reads as if something were going on."""
    assert messages.closed(ACCEPTED, [ADA_ASKED, BEN_ASKED]).text == (
        f"✓ `sdxl`, asked for by <@U0ADA> · expected ready {AT_1202_01} · reload `r4x7`"
    )
    assert pressed(messages.closed(ACCEPTED, [ADA_ASKED])) == []
    assert pressed(messages.closed(ACCEPTED, [ADA_ASKED], again=True)) == [
        ("Reload again", Action.AGAIN, "sdxl", MODELS)
    ]


@pytest.mark.parametrize(
    ("reload", "reason", "label"),
    [
        (replace(ACCEPTED, failure=Failure.CREDITS), "the ModelsLab account is out of credits", "Try again"),
        (replace(ACCEPTED, undeliverable=True), "not everyone could be told how it turned out", "Reload again"),
    ],
)
def test_the_status_message_of_what_went_wrong(reload: Reload, reason: str, label: str) -> None:
    """It says what did, in a word."""
    assert pressed(messages.closed(reload, [ADA_ASKED], again=True)) == [(label, Action.AGAIN, "sdxl", MODELS)]
    assert messages.closed(reload, [ADA_ASKED]).text == (f"✗ `sdxl`, asked for by <@U0ADA> · {reason} · reload `r4x7`")


def test_the_follow_up_mentions_everyone_once() -> None:
    """Whoever asked twice is mentioned once."""
    audience = [ADA_ASKED, BEN_ASKED, subscriber(3)]

    assert messages.follow_up(ACCEPTED, audience, late=False).text == (
        "<@U0ADA> <@U0BEN> `sdxl` should be ready now. (reload `r4x7`)"
    )
    assert pressed(messages.follow_up(ACCEPTED, audience, late=True)) == [
        ("Remind me before it idles out", Action.REMIND, "r4x7", MODELS)
    ]


def test_a_late_follow_up_says_so() -> None:
    """After the bot was down, the time it was due tells how late."""
    assert messages.follow_up(ACCEPTED, [ADA_ASKED], late=True).text == (
        f"<@U0ADA> `sdxl` should be ready now. This comes late: it was due {AT_1202_01}. (reload `r4x7`)"
    )


def test_a_failure_says_why_and_what_to_do() -> None:
    """One sentence why, with ModelsLab's own words, escaped; then the mend."""
    assert messages.failure(FAILED, [ADA_ASKED, BEN_ASKED]).text == (
        "<@U0ADA> <@U0BEN> `sdxl` was not reloaded: ModelsLab refused the request (`no &amp; never`). "
        "If that doesn't help, contact ModelsLab support. (reload `r4x7`)"
    )


@pytest.mark.parametrize(
    ("near", "meant"),
    [
        ([], ""),
        (["sd-xl"], " Did you mean `sd-xl`?"),
        (["sd-xl", "sdxl2", "org/sdxl"], " Did you mean `sd-xl`, `sdxl2` or `org/sdxl`?"),
    ],
)
def test_a_failure_names_what_may_have_been_meant(near: list[str], meant: str) -> None:
    """And has a button for each, before the one that tries the same again."""
    message = messages.failure(replace(FAILED, failure=Failure.UNKNOWN_MODEL, said=""), [ADA_ASKED], near)

    assert message.text.endswith(f"{FAILURES[Failure.UNKNOWN_MODEL].fix}{meant} (reload `r4x7`)")
    assert pressed(message) == [
        *((id_, Action.AGAIN, id_, MODELS) for id_ in near),
        ("Try again", Action.AGAIN, "sdxl", MODELS),
    ]


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_reads_as_one_sentence(failure: Failure) -> None:
    """Without words of ModelsLab's the sentence still ends."""
    text = messages.failure(replace(FAILED, failure=failure, said=""), [ADA_ASKED]).text

    assert text == f"<@U0ADA> `sdxl` was not reloaded: {FAILURES[failure].why}. {FAILURES[failure].fix} (reload `r4x7`)"


def test_an_unknown_outcome_is_told() -> None:
    """A request may be refused only because an earlier one worked: so it may already be reloading."""
    text = messages.failure(replace(FAILED, outcome_unknown=True), [ADA_ASKED]).text

    assert "was not reloaded: ModelsLab refused the request (`no &amp; never`)." in text
    assert " An earlier request got no clear answer, " in text
    assert "the model may already be reloading: try it in a few minutes before you ask again. If that" in text


def test_a_failure_of_unknown_cause_is_the_bots_own() -> None:
    """A row without a cause blames nobody else."""
    assert FAILURES[Failure.INTERNAL].why in messages.failure(replace(FAILED, failure=None), [ADA_ASKED]).text


def test_the_last_that_is_tried_has_nothing_that_can_go_wrong() -> None:
    """Where no message could be worded, no button is."""
    assert messages.stumbled(ACCEPTED, [ADA_ASKED]).buttons == ()


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (6.01, "reloaded 6 days ago. If nobody has used it since, ModelsLab removes it tomorrow."),
        (6.99, "reloaded 6 days ago. If nobody has used it since, ModelsLab removes it tomorrow."),
        (7.0, "reloaded 7 days ago. If nobody has used it since, it may have been removed by now."),
        (30.5, "reloaded 30 days ago. If nobody has used it since, it may have been removed by now."),
    ],
)
def test_a_reminder_says_what_is_known_of_time(days: float, text: str) -> None:
    """One that comes late, as after the bot was down, promises nothing that may be over."""
    message = messages.reminder(ACCEPTED, OPS, NOON + 121 + days * DAY)

    assert message.text == f"`sdxl` was {text} (reload `r4x7`)"
    assert pressed(message) == [
        ("Reload now", Action.AGAIN, "sdxl", OPS),
        ("Stop reminding", Action.STOP_REMINDING, "sdxl", OPS),
    ]


def test_only_the_follow_up_says_now() -> None:
    """ModelsLab confirms nothing, so these words mean that the time is up, and nothing else may say them."""
    said = everything_said()

    assert {name for name, text in said.items() if "should be ready now" in text} == {"follow_up", "follow_up_late"}
    assert not [text for text in said.values() if " is ready" in text]


@pytest.mark.parametrize(("name", "text"), everything_said().items())
def test_the_voice_is_calm(name: str, text: str) -> None:
    """No message shouts, and each about a reload carries its id."""
    assert "!" not in re.sub(r"<!date", "", text)
    assert ("r4x7" in text) is (name != "help")


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


def pressed(message: Message) -> list[tuple[str, Action, str, str]]:
    """The label of each of a message's buttons, and what a press of it brings back."""
    found: list[tuple[str, Action, str, str]] = []
    for block in message.blocks:
        parsed = Block.parse(json.loads(json.dumps(block)))
        accessory = [parsed.accessory] if isinstance(parsed, SectionBlock) else []
        elements = parsed.elements if isinstance(parsed, ActionsBlock) else accessory
        for button in elements:
            if isinstance(button, ButtonElement):
                brought = buttons.pressed(str(button.action_id), str(button.value))
                assert brought is not None
                found.append((str(button.text and button.text.text), brought.action, brought.of, brought.channel_id))
    return found


def long_failure(audience: list[Subscriber], said: str) -> Message:
    """The longest message there is."""
    reload = replace(FAILED, model_id="m" * MAX_ID, said=said, failure=Failure.NO_ANSWER, outcome_unknown=True)
    return messages.failure(reload, audience, [letter * MAX_ID for letter in "abc"])


@pytest.mark.parametrize("length", [9, 11, 25, 64])
@pytest.mark.parametrize("said", ["", "&" * 500, "🐢" * 500, "a word " * 99])
def test_a_message_to_a_crowd_keeps_slacks_limits(length: int, said: str) -> None:
    """However many asked, with ids however long, each section and all of them together fit."""
    crowd = [subscriber(number, f"U{number:0{length - 1}d}", "C" * 64) for number in range(1000)]
    message = long_failure(messages.audible(crowd), said)

    assert max(map(len, sections(message))) <= 3000
    assert len(message.blocks) <= 50
    assert len(json.dumps(message.blocks)) <= BLOCKS_LIMIT
    assert len(message.text) <= 40_000


@pytest.mark.parametrize(
    "message",
    every_message(
        replace(ACCEPTED, model_id="m" * MAX_ID),
        near=[letter * MAX_ID for letter in "abc"],
        asker=subscriber(user_id="U" * 64, channel_id="C" * 64),
    ).values(),
    ids=every_message(),
)
def test_every_message_of_the_longest_ids_keeps_slacks_limits(message: Message) -> None:
    """Slack's own SDK finds nothing wrong with it, all of it fits, and the text says all that its sections say."""
    texts = sections(message)
    pressed(message)

    assert " ".join(texts).split() == message.text.split()
    assert max(map(len, texts)) <= 3000
    assert len(message.blocks) <= 50
    assert len(json.dumps(message.blocks)) <= BLOCKS_LIMIT


def test_one_message_mentions_four_hundred_people_of_today() -> None:
    """Ids have eleven characters; whoever asked in more than one way is one person."""
    crowd = [subscriber(number, f"U{number:010d}") for number in range(MENTIONS_LIMIT + 1)]
    audience = messages.audible([*crowd, subscriber(9000, "U0000000007"), subscriber(9001, "U0000000400")])

    assert audience == [*crowd[:MENTIONS_LIMIT], subscriber(9000, "U0000000007")]


def test_somebody_is_always_mentioned() -> None:
    """Whatever the ids are like, those who are left over become fewer with every message."""
    assert messages.audible([subscriber(user_id="U" * 64)]) == [subscriber(user_id="U" * 64)]
    assert messages.audible([]) == []


@given(said=words, ids=st.lists(st.from_regex(r"U[A-Z0-9]{1,63}", fullmatch=True), min_size=1, max_size=90))
def test_the_fallback_text_says_all_that_the_blocks_say(said: str, ids: list[str]) -> None:
    """Sections are the text, broken between words: no mention, time or piece of code is torn apart."""
    message = long_failure([subscriber(number, user) for number, user in enumerate(ids)], said)
    texts = sections(message)

    assert " ".join(texts).split() == message.text.split()
    assert all(text.count("`") % 2 == 0 for text in texts)
    assert all(text.count("<") == text.count(">") for text in texts)


@pytest.mark.parametrize("shift", range(60))
def test_a_time_is_never_torn_apart(shift: int) -> None:
    """A time holds spaces; wherever a section ends, it does not end within one."""
    crowd = [subscriber(number, f"U{number:05d}") for number in range(289)]
    last = subscriber(999, "U" * (shift + 2))
    texts = sections(messages.follow_up(ACCEPTED, [*crowd, last], late=True))

    assert [text for text in texts if AT_1202_01 in text]


@given(model_id=st.from_regex(MODEL_ID, fullmatch=True), said=words)
def test_nothing_from_outside_is_markup(model_id: str, said: str) -> None:
    """Of all that could mention, link or format, only our own mentions and times are left."""
    for text in everything_said(replace(ACCEPTED, model_id=model_id), said).values():
        ours = re.compile(
            r"<@U0(ADA|BEN)>|<!date\^\d+\^(\{date_short(?:_pretty)?\} )?\{time\}\|(\d\d \w{3}, )?\d\d:\d\d UTC>"
        )
        rest = ours.sub("", text)

        assert not {"<", ">"} & set(rest)
        assert rest.count("`") % 2 == 0


@given(words)
def test_modelslabs_own_words_are_bounded_and_on_one_line(said: str) -> None:
    """What a service answers may be long, and may hold what turns text around."""
    text = messages.failure(replace(FAILED, said=said), [ADA_ASKED]).text

    assert len(text.splitlines()) == 1
    assert len(text) < 300 + SAID_LIMIT * len("&amp;")


def test_a_reminder_is_confirmed_with_its_day() -> None:
    """Or, where it has been given, with when the next one comes."""
    due = Reminder("sdxl", "r4x7", MODELS, 1700049720.0, 1700568120.0)
    on = "<!date^1700568120^{date_short} {time}|21 Nov, 12:02 UTC>"

    assert messages.will_remind(due) == f"I will remind you of `sdxl` on {on}, unless it is reloaded before."
    assert messages.will_remind(replace(due, due_at=None)) == (
        "I have reminded you of `sdxl` already, and will again after its next reload."
    )


def test_a_reminder_in_a_list_says_since_when_and_for_when() -> None:
    """Or that it has been given."""
    due = Reminder("sdxl", "r4x7", MODELS, 1700049720.0, 1700568120.0)
    since = "`sdxl` · expected ready <!date^1700049720^{date_short_pretty} {time}|15 Nov, 12:02 UTC>"
    on = "<!date^1700568120^{date_short} {time}|21 Nov, 12:02 UTC>"

    assert messages.reminding(due) == f"{since} · I will remind you on {on}"
    assert messages.reminding(replace(due, due_at=None)) == f"{since} · you were reminded"
