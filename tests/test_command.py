"""The text after /reload-model is read as people type it."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.command import MAX_ID, MODEL_ID, Command, Pick, ReloadModel, Word, parse
from bot.errors import NotACommand

SPACES = [
    " ",
    "\t",
    "\n",
    "\r\n",
    "\v",
    "\N{NO-BREAK SPACE}",
    "\N{NARROW NO-BREAK SPACE}",
    "\N{FIGURE SPACE}",
    "\N{EM SPACE}",
    "\N{IDEOGRAPHIC SPACE}",
    "\N{WORD JOINER}",
    "\N{ZERO WIDTH NO-BREAK SPACE}",
    "\N{ZERO WIDTH SPACE}",
    "\N{LEFT-TO-RIGHT MARK}",
    "\N{RIGHT-TO-LEFT EMBEDDING}",
    "\N{LINE SEPARATOR}",
]
QUOTED = [
    "`{}`",
    '"{}"',
    "'{}'",
    "\u201c{}\u201d",
    "\u201d{}\u201d",
    "\u201e{}\u201c",
    "\u201e{}\u201d",
    "\u201c{}\u201c",
    '\u201c{}"',
    '"{}\u201d',
    "\u2018{}\u2019",
    "\u2019{}\u2019",
    "\u201a{}\u2018",
    "\u00ab{}\u00bb",
    "\u00bb{}\u00ab",
    "\u00ab\u00a0{}\u00a0\u00bb",
    "\u2039{}\u203a",
    "\u203a{}\u2039",
    "``{}``",
    "```{}```",
    "\"'{}'\"",
    "` {} `",
]

# Words, ids, and slips of both, in the middle of anything at all.
typed = st.lists(
    st.one_of(
        st.sampled_from([*Word, "sdxl", "statsu", "--help", "<!channel>", "a" * 130, "\u202e", "\x00", "\ud800"]),
        st.sampled_from([*SPACES, *"`\"'<>&/-\u201c\u201d"]),
        st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]), max_size=20),
    ),
    max_size=8,
).map("".join)


def told(text: str) -> str:
    """What a person is told of a text that is no command."""
    with pytest.raises(NotACommand) as raised:
        parse(text)
    return raised.value.told


@pytest.mark.parametrize(
    "model_id",
    [
        "sdxl",
        "7",
        "midjourney-v4",
        "Realistic_Vision.v5-1",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "org:model@2+lora",
        "x" * MAX_ID,
    ],
)
def test_one_id_is_a_reload(model_id: str) -> None:
    """An id is taken as it is typed, capitals and all."""
    assert parse(model_id) == ReloadModel(model_id)


@pytest.mark.parametrize(
    ("text", "word"),
    [("", Pick()), (" \u00a0", Pick()), ("help", Word.HELP), ("Status", Word.STATUS), ("HISTORY ", Word.HISTORY)],
)
def test_words_are_commands(text: str, word: Command) -> None:
    """The words are known in any case, and nothing at all asks for the picker."""
    assert parse(text) == word


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("text", ["sdxl", "status"])
def test_every_kind_of_space_around_is_ignored(space: str, text: str) -> None:
    """What is pasted comes with spaces that do not break or have no width."""
    assert parse(f"{space}{text}{space}{space}") == parse(text)


@pytest.mark.parametrize("quoted", QUOTED)
@pytest.mark.parametrize("word", ["status", "Help", "statuss", "sdxl"])
def test_a_quoted_word_is_always_an_id(quoted: str, word: str) -> None:
    """Every kind of quote makes an id of a word, and of what looks like a slip of one."""
    assert parse(quoted.format(word)) == ReloadModel(word)


@pytest.mark.parametrize("text", ['"status', "status'", "`status\u201d", "'status\""])
def test_half_a_quote_is_no_quote(text: str) -> None:
    """Quotes that do not belong together are a fault, and not taken off."""
    assert "is not a model id" in told(text)


@pytest.mark.parametrize("text", ['""', "``", "\u201c\u00a0\u201d", "'\"\"'"])
def test_quotes_with_nothing_between_them_say_so(text: str) -> None:
    """An empty pair of quotes is neither a word nor an id."""
    assert "has nothing between its quotes." in told(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sdxl flux", "`sdxl flux` is more than one word, and I reload one model at a time."),
        ("sdxl\u00a0flux", "`sdxl flux` is more than one word, and I reload one model at a time."),
        ("reload\nsdxl", "`reload sdxl` is more than one word, and I reload one model at a time."),
        ('"sdxl flux"', '`"sdxl flux"` is more than one word, and I reload one model at a time.'),
        ("--force", "`--force` looks like an option, and I have none."),
        ("x" * 129, f"`{'x' * 59}…` is longer than 128 characters."),
        ("_sdxl", "`_sdxl` is not a model id: those begin with a letter or digit, and go on with letters, digits"),
        ("żółw", "`żółw` is not a model id: "),
        ("<!channel>", "`&lt;!channel&gt;` is not a model id: "),
    ],
)
def test_a_fault_is_named(text: str, fault: str) -> None:
    """Whoever typed it reads what they typed and what is wrong with it."""
    assert told(text).startswith(fault)
    assert told(text).endswith("Nothing was started. `/reload-model help` tells more.")


@pytest.mark.parametrize(
    ("text", "word"),
    [("--help", "help"), ("-status", "status"), ("help?", "help"), ("/history", "history"), ("status!", "status")],
)
def test_a_fault_that_resembles_a_word_gets_a_hint(text: str, word: str) -> None:
    """What cannot be an id but looks like a word is met with that word."""
    assert f" Did you mean `/reload-model {word}`? " in told(text)
    assert "quote it" not in told(text)


@pytest.mark.parametrize(("text", "word"), [("statsu", "status"), ("histroy", "history"), ("Helpp", "help")])
def test_a_slip_of_a_word_starts_nothing(text: str, word: str) -> None:
    """An id so close to a word is asked about first, and how to insist is said."""
    assert told(text) == (
        f"`{text}` is close to the word `{word}`. Did you mean `/reload-model {word}`? To reload a model of that name, "
        f'quote it: `/reload-model "{text}"`. Nothing was started. `/reload-model help` tells more.'
    )


def refused(text: str) -> str:
    """What a person is told of this text, or nothing where it is a command that the bot can take."""
    try:
        command: Command = parse(text)
    except NotACommand as refusal:
        return refusal.told
    return "" if isinstance(command, Word | Pick) or MODEL_ID.fullmatch(command.model_id) else "not valid"


@given(typed)
@example("\u201c" * 4000)
@example("`" * 8000)
@example("a" * 8000)
@example("help\n" * 1600)
def test_whatever_is_typed_has_an_answer(text: str) -> None:
    """It is a word, or a reload of a valid id, or refused in a text that is bounded and harmless."""
    told_of_it = refused(text)

    assert not told_of_it or told_of_it.endswith("`/reload-model help` tells more.")
    assert len(told_of_it) < 1200
    assert not set("<>") & set(told_of_it)
    assert not [c for c in told_of_it if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not re.search(r"&(?!(amp|lt|gt);)", told_of_it)


@given(st.from_regex(MODEL_ID, fullmatch=True), st.sampled_from(QUOTED))
def test_every_id_can_be_asked_for(model_id: str, quoted: str) -> None:
    """Whatever an id looks like, quoted it is itself."""
    assert parse(quoted.format(model_id)) == ReloadModel(model_id)
