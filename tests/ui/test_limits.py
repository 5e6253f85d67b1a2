"""What holds for every message and view: it keeps Slack's limits, and nothing from outside is markup."""

import inspect
import json
import re
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block, SectionBlock
from slack_sdk.models.views import View

from bot.core.command import MODEL_ID
from bot.core.models import DAY, ModelGroup
from bot.core.text import SAID_LIMIT
from bot.ui import grants, lists, messages, views
from bot.ui.messages import MENTIONS_LIMIT, Message
from tests.samples import ACCEPTED, ADA, BEN, subscriber
from tests.ui.every import every_message, every_view

words = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "C"]), max_size=300)


def sections(message: Message) -> list[str]:
    """The texts of a message's sections, once Slack's own SDK has found nothing wrong with its blocks."""
    texts: list[str] = []
    for block in message.blocks:
        parsed = Block.parse(json.loads(json.dumps(block)))
        assert parsed is not None
        assert parsed.to_dict() == block
        if isinstance(parsed, SectionBlock):
            assert parsed.text is not None
            texts.append(parsed.text.text)
    return texts


def test_nothing_is_left_out() -> None:
    """Every function of bot/ui that makes a message or a view is among those that are checked here."""
    made = {
        name
        for module, kinds in ((messages, (Message,)), (lists, (Message,)), (grants, (Message, View)), (views, (View,)))
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(function).return_annotation in kinds
    }

    assert {"status", "follow_up", "running", "picker", "home"} <= made <= {*every_message(), *every_view()}


@pytest.mark.parametrize("length", [9, 11, 25, 64])
def test_a_message_keeps_slacks_limits(length: int) -> None:
    """With the longest model IDs, an emoji for each character that ModelsLab says, and IDs of people however long."""
    crowd = [subscriber(number, f"U{number:0{length - 1}d}", "C" * 64) for number in range(1000)]
    for message in every_message(said="🐢" * 500, people=messages.mentioned(crowd)).values():
        assert max(map(len, sections(message))) <= 3000
        assert len(message.blocks) <= 50
        assert len(json.dumps(message.blocks)) <= 13_200
        assert len(message.text) <= 40_000


@pytest.mark.parametrize("view", every_view().values(), ids=every_view())
def test_a_view_keeps_slacks_limits(view: View) -> None:
    """Slack's own SDK checks them as it writes a view. With a press it comes back whole, in a body of 64 KiB."""
    written = view.to_dict()

    assert len(written["blocks"]) <= 100
    assert len(urlencode({"payload": json.dumps(written)})) < 48 * 1024


def test_suggestions_keep_within_slacks_limit_in_all() -> None:
    """An earlier group leaves some room to those after it."""
    for typed, many, shown in (
        (None, (200, 200, 200), [40, 30, 30]),
        ("m", (200, 200, 200), [1, 39, 30, 30]),
        ("m", (5, 200, 200), [1, 5, 64, 30]),
        (None, (200, 0, 200), [70, 30]),
        (None, (200, 3, 2), [95, 3, 2]),
        (None, (0, 0, 200), [100]),
    ):
        found = {group: [f"{group}-{n}" for n in range(count)] for group, count in zip(ModelGroup, many, strict=True)}

        assert [len(group.to_dict()["options"]) for group in views.suggestions(typed, found)] == shown


@given(said=words, ids=st.lists(st.from_regex(r"U[A-Z0-9]{1,63}", fullmatch=True), min_size=1, max_size=90))
@settings(max_examples=25)
def test_the_fallback_text_says_all_that_the_blocks_say(said: str, ids: list[str]) -> None:
    """Sections are the text, broken between words: no mention, time or piece of code is torn apart."""
    people = [subscriber(number, user) for number, user in enumerate(ids)]
    for message in every_message(said=said, people=people).values():
        texts = sections(message)

        assert " ".join(texts).split() == message.headline.split()
        assert all(text.count("`") % 2 == 0 and text.count("<") == text.count(">") for text in texts)


@pytest.mark.parametrize("shift", range(60))
def test_a_time_is_never_torn_apart(shift: int) -> None:
    """A time contains spaces, but a section never ends within one."""
    crowd = [subscriber(number, f"U{number:05d}") for number in range(289)]
    late = messages.follow_up([ACCEPTED], [*crowd, subscriber(999, "U" * (shift + 2))], late=DAY)

    assert [
        text
        for text in sections(late)
        if "<!date^1700049721^{date_short_pretty} at {time}|15 Nov at 12:02 UTC>" in text
    ]


@given(model_id=st.from_regex(MODEL_ID, fullmatch=True), said=words)
@settings(max_examples=25)
def test_nothing_from_outside_is_markup(model_id: str, said: str) -> None:
    """Of all that could mention, link or format, only the bot's own mentions and times are left."""
    ours = re.compile(
        r"<@U0\w+>|<#C0MODELS>|<!date\^\d+\^(\{date_short(_pretty)?\} at )?\{time\}\|(\d+ \w{3} at )?\d\d:\d\d UTC>"
    )
    written = every_message(model_id, said, [subscriber(1, ADA), subscriber(2, BEN)])
    for message in written.values():
        rest = ours.sub("", message.text)

        assert not {"<", ">"} & set(rest)
        assert rest.count("`") % 2 == 0
    assert len(written["failure"].small_print.splitlines()) == 1
    assert len(written["failure"].small_print) < 30 + SAID_LIMIT * len("&amp;")


def test_only_the_follow_up_says_now() -> None:
    """ModelsLab confirms nothing, so these words mean that the time is up, and no other message can say them."""
    texts = {name: message.text for name, message in every_message().items()}

    assert {name for name, text in texts.items() if "should be ready now" in text} == {"follow_up", "follow_up_late"}
    assert not [text for text in texts.values() if " is ready" in text]


def test_one_message_mentions_four_hundred_people_and_always_somebody() -> None:
    """With IDs as they are today. Somebody who asked twice is one person, and no ID is too long for the first one."""
    crowd = [subscriber(number, f"U{number:010d}") for number in range(MENTIONS_LIMIT + 1)]
    again = [subscriber(9000, "U0000000007"), subscriber(9001, "U0000000400")]

    assert messages.mentioned([*crowd, *again]) == [*crowd[:MENTIONS_LIMIT], again[0]]
    assert messages.mentioned([subscriber(user_id="U" * 64)]) == [subscriber(user_id="U" * 64)]
