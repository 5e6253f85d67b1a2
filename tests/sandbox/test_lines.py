"""Lines of the sandbox are read as people type them."""

import pytest

from bot.sandbox.lines import (
    Cast,
    Choose,
    Line,
    OpenHome,
    Person,
    Place,
    Remark,
    Say,
    Shortcut,
    Type,
    Unclear,
    Wait,
    Word,
)

CAST = Cast(
    people={"ada": Person("U0ADA", "models"), "ben": Person("U0BEN", "ops")},
    channels={"models": "C0MODELS", "ops": "C0OPS"},
)
LAST = Place("ben", "models")


@pytest.mark.parametrize(
    ("line", "person", "channel", "text"),
    [
        ("ada: /reload-model sdxl", "ada", "models", "sdxl"),
        ("ada #ops: /reload-model sdxl", "ada", "ops", "sdxl"),
        ("ada#ops:/reload-model sdxl\n", "ada", "ops", "sdxl"),
        ("ADA #OPS : /reload-model", "ada", "ops", ""),
        ("ben: /reload-model two words", "ben", "ops", "two words"),
        ("/reload-model status", "ben", "models", "status"),
        ("  /reload-model sdxl  ", "ben", "models", "sdxl"),
        ("#ops: /reload-model sdxl", "ben", "ops", "sdxl"),
    ],
)
def test_somebody_says_something(line: str, person: str, channel: str, text: str) -> None:
    """A name and a channel may be left out: the person's usual channel, or who and where it was last."""
    assert CAST.read(line, LAST) == Say(Place(person, channel), text)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("3", Choose(LAST, "3")),
        ("ada: 3", Choose(Place("ada", "models"), "3")),
        ("ada #ops: 12\n", Choose(Place("ada", "ops"), "12")),
        ("ada: home", OpenHome(Place("ada", "models"))),
        ("Home", OpenHome(LAST)),
        ("ada: type sdxl turbo", Type(Place("ada", "models"), "sdxl turbo")),
        ("type", Type(LAST, "")),
        ("ada: shortcut reload_model", Shortcut(Place("ada", "models"), "reload_model")),
        ("zed: 3", Unclear("nobody here is called zed: there are ada, ben")),
    ],
)
def test_somebody_does_something(line: str, read: Line) -> None:
    """Buttons have numbers; the Home tab, a field and a shortcut have words."""
    assert CAST.read(line, LAST) == read


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("", Word.NOTHING),
        (" \n", Word.NOTHING),
        ("help", Word.HELP),
        ("?", Word.HELP),
        ("Exit", Word.END),
        ("quit\n", Word.END),
        ("wait 3", Wait(3.0)),
        ("wait 0.5", Wait(0.5)),
        ("# a comment", Remark("# a comment")),
    ],
)
def test_words_to_the_tryout_itself(line: str, read: Line) -> None:
    """Some lines are nobody's."""
    assert CAST.read(line, LAST) == read


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sdxl", "what is said here looks like ben: /reload-model sdxl (help tells more)"),
        ("/reload-models sdxl", "what is said here looks like ben: /reload-model sdxl (help tells more)"),
        ("ada: hello", "what is said here looks like ben: /reload-model sdxl (help tells more)"),
        ("zed: /reload-model sdxl", "nobody here is called zed: there are ada, ben"),
        ("ada #zoo: /reload-model sdxl", "there is no #zoo here: there are #models, #ops"),
    ],
)
def test_what_is_not_understood(line: str, why: str) -> None:
    """The reason says what would be understood."""
    assert CAST.read(line, LAST) == Unclear(why)
