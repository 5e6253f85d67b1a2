"""The text after /reload-model is read as people type it."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.command import MAX_ID, MODEL_ID, Command, Pick, ReloadModel, Slip, Word, parse, read_id
from bot.errors import Refusal, Refused

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


def refused(text: str) -> Refused:
    """Why this text is no command."""
    with pytest.raises(Refused) as raised:
        parse(text)
    assert raised.value.reason is Refusal.NOT_A_COMMAND
    return raised.value


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
def test_half_a_quote_is_not_a_quote(text: str) -> None:
    """Quotes that do not make a pair are a part of the word, and wrong in it."""
    assert refused(text).data["slip"] is Slip.NOT_AN_ID


@pytest.mark.parametrize(
    ("text", "slip"),
    [
        ('""', Slip.NOTHING_QUOTED),
        ("``", Slip.NOTHING_QUOTED),
        ("\u201c\u00a0\u201d", Slip.NOTHING_QUOTED),
        ("'\"\"'", Slip.NOTHING_QUOTED),
        ("sdxl flux", Slip.SEVERAL_WORDS),
        ("sdxl\u00a0flux", Slip.SEVERAL_WORDS),
        ("reload\nsdxl", Slip.SEVERAL_WORDS),
        ('"sdxl flux"', Slip.SEVERAL_WORDS),
        ("--force", Slip.OPTION),
        ("x" * 129, Slip.TOO_LONG),
        ("_sdxl", Slip.NOT_AN_ID),
        ("żółw", Slip.NOT_AN_ID),
        ("<!channel>", Slip.NOT_AN_ID),
    ],
)
def test_a_slip_is_named(text: str, slip: Slip) -> None:
    """With the text, as it was typed, and no word that it resembles."""
    assert refused(text).data == {"text": text, "slip": slip, "meant": None}


@pytest.mark.parametrize(
    ("text", "word"),
    [("--help", "help"), ("-status", "status"), ("help?", "help"), ("/history", "history"), ("status!", "status")],
)
def test_what_cannot_be_an_id_but_resembles_a_word_names_the_word(text: str, word: str) -> None:
    """So that the person can be asked whether they meant it."""
    assert refused(text).data["meant"] == word
    assert refused(text).data["slip"] in (Slip.OPTION, Slip.NOT_AN_ID)


@pytest.mark.parametrize(("text", "word"), [("statsu", "status"), ("histroy", "history"), ("Helpp", "help")])
def test_an_id_that_resembles_a_word_is_not_reloaded(text: str, word: str) -> None:
    """It is likelier a typo; in quotes it is an id."""
    assert refused(text).data == {"text": text, "slip": Slip.NEARLY_A_WORD, "meant": word}
    assert parse(f'"{text}"') == ReloadModel(text)


@given(typed)
@example("\u201c" * 4000)
@example("`" * 8000)
@example("a" * 8000)
@example("help\n" * 1600)
def test_any_text_is_a_word_or_a_valid_id_or_refused(text: str) -> None:
    """Nothing else comes of it."""
    with suppress(Refused):
        command: Command = parse(text)
        assert isinstance(command, Word | Pick) or MODEL_ID.fullmatch(command.model_id)


@given(st.from_regex(MODEL_ID, fullmatch=True), st.sampled_from(QUOTED))
def test_every_id_can_be_asked_for(model_id: str, quoted: str) -> None:
    """Whatever an id looks like, quoted it is itself."""
    assert parse(quoted.format(model_id)) == ReloadModel(model_id)


@pytest.mark.parametrize(
    ("text", "model_id"),
    [("sdxl", "sdxl"), (" `status` ", "status"), ("helpp", "helpp"), ("", None), ('""', None), ("two words", None)],
)
def test_where_no_word_is_a_command_only_ids_are_read(text: str, model_id: str | None) -> None:
    """As in the picker's fields."""
    assert read_id(text) == model_id
