"""Messages are drawn as people see them in Slack."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bot.sandbox.screen import Screen
from bot.sandbox.workspace import Message, Workspace

POSTED = Message("C0MODELS", "1.0", "hello", [], "api", 1.0)


@pytest.fixture
def drawn() -> list[str]:
    """What was drawn."""
    return []


@pytest.fixture
def workspace() -> Workspace:
    """A workspace with a channel and a person."""
    workspace = Workspace()
    workspace.add_channel("C0MODELS", "models")
    workspace.add_user("U0ADA", "ada")
    return workspace


@pytest.fixture
def screen(workspace: Workspace, drawn: list[str]) -> Screen:
    """A screen without colour."""
    return Screen(workspace, drawn.append, colour=False)


@pytest.fixture
def five_hours_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone that no machine of ours is in."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XST-5")
        time.tzset()
        yield
    time.tzset()


def test_what_somebody_types(screen: Screen, drawn: list[str]) -> None:
    """A command stands after the channel and the person, as typed."""
    screen.said("ada", "models", "/reload-model <b>")

    assert drawn == ["#models  ada> /reload-model <b>"]


def test_what_the_tryout_and_slack_say_by_themselves(screen: Screen, drawn: list[str]) -> None:
    """Notes stand alone; Slack's words to one person say who that is."""
    screen.note("hello")
    screen.private("ada", "models", "operation_timeout")

    assert drawn == ["hello", "#models  (only ada sees) operation_timeout"]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (POSTED, "#models  reload-model> hello"),
        (replace(POSTED, channel="C0OTHER"), "C0OTHER  reload-model> hello"),
        (replace(POSTED, thread_ts="1.0"), "#models  reload-model, in the thread> hello"),
        (
            replace(POSTED, thread_ts="1.0", broadcast=True),
            "#models  reload-model, in the thread and the channel> hello",
        ),
        (replace(POSTED, edits=["before"]), "#models  (edited) reload-model> hello"),
        (replace(POSTED, user="U0ADA", via="ack"), "#models  (only ada sees) hello"),
        (replace(POSTED, user="U0BEN", via="dm"), "#models  (DM to U0BEN) hello"),
        (replace(POSTED, text=""), "#models  reload-model> "),
        (replace(POSTED, text="one\ntwo"), "#models  reload-model> one\n             two"),
    ],
)
def test_messages(screen: Screen, drawn: list[str], message: Message, line: str) -> None:
    """A message tells where it is, who sees it, and whether it is a reply or was edited."""
    screen.message(message)

    assert drawn == [line]


def test_what_can_be_pressed(screen: Screen, drawn: list[str]) -> None:
    """Choices stand in a row under the message, as they are."""
    screen.message(replace(POSTED, text="&lt;b&gt;"), ["[1] Try <again>", "[2] Stop"])

    assert drawn == ["#models  reload-model> <b>\n             [1] Try <again>  [2] Stop"]


def test_many_choices_take_several_rows(screen: Screen, drawn: list[str]) -> None:
    """No row is wider than a terminal."""
    screen.message(POSTED, [f"[{number}] {'x' * 30}" for number in range(1, 6)])
    (message,) = drawn

    assert [line.count("[") for line in message.splitlines()] == [0, 2, 2, 1]
    assert max(map(len, message.splitlines())) < 100


def test_what_stands_beside_the_channels(screen: Screen, drawn: list[str]) -> None:
    """A modal and the Home tab are one person's, and list their words."""
    screen.view("modal", "ada", ["Reload a model", "for <@U0ADA>"], ["[1] sdxl"])
    screen.view("home", "ada", ["Hello"])

    assert drawn == [
        "modal    (only ada sees) Reload a model\n             for @ada\n             [1] sdxl",
        "home     (only ada sees) Hello",
    ]


@pytest.mark.usefixtures("five_hours_east")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<@U0ADA> and <@U0BEN>", "@ada and @U0BEN"),
        ("<#C0MODELS> <#C0X|x>", "#models C0X"),
        ("<!channel>", "@channel"),
        ("<https://example.com|the page> <https://example.com>", "the page https://example.com"),
        ("&lt;!channel&gt; &amp;lt;", "<!channel> &lt;"),
        ("about <!date^1700000000^{time}|22:13 UTC>", "about 03:13"),
        ("<!date^1700000000^{date_short_pretty} at {time_secs}|x>", "15 Nov at 03:13:20"),
        ("<!date^1700000000^{date_short} {time}|x>", "15 Nov 03:13"),
        ("<!date^1700000000^{ago}|some time ago>", "some time ago"),
        ("<!date^1700000000^{time}^https://example.com|22:13>", "03:13"),
        ("bell \a and \x1b[31mred", "bell � and �[31mred"),
    ],
)
def test_markup(screen: Screen, drawn: list[str], text: str, shown: str) -> None:
    """Markup becomes what Slack shows for it, and nothing reaches the terminal that would move it."""
    screen.message(replace(POSTED, text=text))

    assert drawn == [f"#models  reload-model> {shown}"]


def test_colour(workspace: Workspace, drawn: list[str]) -> None:
    """In colour, speakers stand out, and what is private stands back."""
    screen = Screen(workspace, drawn.append, colour=True)
    screen.message(POSTED)
    screen.message(replace(POSTED, user="U0ADA", via="ack"))

    assert drawn == [
        "#models  \x1b[1mreload-model> \x1b[0mhello",
        "#models  \x1b[2m(only ada sees) \x1b[0mhello",
    ]
