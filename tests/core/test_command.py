"""The text after /reload-model is read as people type it."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bot.core.command import (
    MAX_ID,
    MAX_MODELS,
    MODEL_HERE,
    MODEL_ID,
    Command,
    Pick,
    ReloadModels,
    Slip,
    Word,
    after_mention,
    parse,
    read_id,
)
from bot.errors import Refusal, Refused
from bot.ui.buttons import Action, pressed

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
        st.sampled_from(
            [
                *Word,
                "sdxl",
                "statsu",
                "--help",
                "<!channel>",
                "https://modelslab.com/models/x",
                "a" * 130,
                "\u202e",
                "\x00",
                "\ud800",
            ]
        ),
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
    assert parse(model_id) == ReloadModels((model_id,))


@pytest.mark.parametrize(
    ("text", "word"),
    [("", Pick()), (" \u00a0", Pick()), ("help", Word.HELP), ("Status", Word.STATUS), ("HISTORY ", Word.HISTORY)],
)
def test_words_are_commands(text: str, word: Command) -> None:
    """The words are known in any case, and nothing at all asks for the picker."""
    assert parse(text) == word


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("sdxl.", ReloadModels(("sdxl",))),
        ("sdxl, flux!", ReloadModels(("sdxl", "flux"))),
        (": sdxl: flux ...", ReloadModels(("sdxl", "flux"))),
        ("sdxl-1.0 org:flux.", ReloadModels(("sdxl-1.0", "org:flux"))),
        ("https://modelslab.com/models/flux-dev.", ReloadModels(("flux-dev",))),
        ('"sdxl."', ReloadModels(("sdxl.",))),
        ('"sdxl".', ReloadModels(("sdxl",))),
        ("help?", Word.HELP),
        ("status!", Word.STATUS),
        ("?!", Pick()),
    ],
)
def test_punctuation_at_the_end_of_a_word_is_no_part_of_it(text: str, command: Command) -> None:
    """People write sentences. Quotes keep it."""
    assert parse(text) == command


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("text", ["sdxl", "status"])
def test_every_kind_of_space_around_is_ignored(space: str, text: str) -> None:
    """What is pasted comes with spaces that do not break or have no width."""
    assert parse(f"{space}{text}{space}{space}") == parse(text)


@pytest.mark.parametrize("quoted", QUOTED)
@pytest.mark.parametrize("word", ["status", "Help", "statuss", "sdxl"])
def test_a_quoted_word_is_always_an_id(quoted: str, word: str) -> None:
    """Every kind of quote makes an id of a word, and of what looks like a slip of one."""
    assert parse(quoted.format(word)) == ReloadModels((word,))


@pytest.mark.parametrize("text", ['"status', "status'", "`status\u201d", "'status\""])
def test_half_a_quote_is_not_a_quote(text: str) -> None:
    """Quotes that do not make a pair are a part of the word, and wrong in it."""
    assert refused(text).data["slip"] is Slip.NOT_AN_ID


@pytest.mark.parametrize(
    "text",
    [
        "sdxl flux",
        "sdxl,flux",
        "sdxl, flux",
        "sdxl;flux",
        "sdxl\u00a0flux",
        "sdxl\nflux\n",
        '"sdxl" `flux`',
        "sdxl flux sdxl",
    ],
)
def test_several_ids_are_several_reloads(text: str) -> None:
    """With spaces or commas between them; one that is given twice counts once."""
    assert parse(text) == ReloadModels(("sdxl", "flux"))


@pytest.mark.parametrize(
    "page",
    [
        "https://modelslab.com/models/flux-dev",
        "https://modelslab.com/models/black-forest/flux-dev",
        "http://www.modelslab.com/models/black-forest/flux-dev/",
        "modelslab.com/models/flux-dev?tab=api#try",
        "HTTPS://ModelsLab.com/models/black-forest/flux-dev",
        "https://modelslab.com/models/black-forest/flux%2Ddev",
        "<https://modelslab.com/models/black-forest/flux-dev>",
        "<https://modelslab.com/models/black-forest/flux-dev|modelslab.com/models/black-forest/flux-dev>",
        "`https://modelslab.com/models/flux-dev`",
    ],
)
def test_the_address_of_a_page_is_its_model(page: str) -> None:
    """However it was pasted, alone or beside others, and in the picker."""
    assert parse(page) == ReloadModels(("flux-dev",))
    assert parse(f"sdxl {page}, midjourney") == ReloadModels(("sdxl", "flux-dev", "midjourney"))
    assert read_id(page) == "flux-dev"


@pytest.mark.parametrize(
    ("text", "slip"),
    [
        ('""', Slip.NOTHING_QUOTED),
        ("``", Slip.NOTHING_QUOTED),
        ("\u201c\u00a0\u201d", Slip.NOTHING_QUOTED),
        ("'\"\"'", Slip.NOTHING_QUOTED),
        ('"sdxl flux"', Slip.SPACE),
        ("--force", Slip.OPTION),
        ("x" * 129, Slip.TOO_LONG),
        ("_sdxl", Slip.NOT_AN_ID),
        ("żółw", Slip.NOT_AN_ID),
        ("<!channel>", Slip.NOT_AN_ID),
        ("https://example.com/models/sdxl", Slip.NOT_A_PAGE),
        ("<https://modelslab.com/pricing|pricing>", Slip.NOT_A_PAGE),
        ("modelslab.com", Slip.NOT_A_PAGE),
        ("cancel", Slip.CANCEL),
        ("Stop", Slip.CANCEL),
    ],
)
def test_a_slip_is_named(text: str, slip: Slip) -> None:
    """And resembles no word of ours."""
    data = refused(text).data
    assert (data["slip"], data["meant"], data["alone"]) == (slip, None, True)


@pytest.mark.parametrize(
    ("text", "wrong", "slip"),
    [
        ("sdxl flux _bad", "_bad", Slip.NOT_AN_ID),
        ('sdxl "two words"', "two words", Slip.SPACE),
        ("sdxl https://example.com", "https://example.com", Slip.NOT_A_PAGE),
        ("cancel sdxl", "cancel", Slip.CANCEL),
        (" ".join(f"model-{n}" for n in range(MAX_MODELS + 1)), None, Slip.TOO_MANY),
    ],
)
def test_one_slip_among_several_ids_starts_none_of_them(text: str, wrong: str | None, slip: Slip) -> None:
    """The answer names the one that is wrong."""
    assert refused(text).data == {"text": wrong or text, "slip": slip, "meant": None, "alone": False}


@pytest.mark.parametrize(
    ("text", "word"),
    [("--help", "help"), ("-status", "status"), ("/history", "history")],
)
def test_what_cannot_be_an_id_but_resembles_a_word_names_the_word(text: str, word: str) -> None:
    """So that the person can be asked whether they meant it."""
    assert refused(text).data["meant"] == word
    assert refused(text).data["slip"] in (Slip.OPTION, Slip.NOT_AN_ID)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("statsu", "status"),
        ("histroy", "history"),
        ("Helpp", "help"),
        ("list", "status"),
        ("LS", "status"),
        ("logs", "history"),
        ("help me", "help"),
        ("status all", "status"),
        ("list sdxl", "status"),
        ("reload", MODEL_HERE),
        ("reload sdxl", "sdxl"),
        ("please reload sdxl and flux", "sdxl flux"),
    ],
)
def test_what_is_likelier_meant_as_something_else_is_not_reloaded(text: str, meant: str) -> None:
    """A typo, a word of other programs, or a whole sentence: the person is asked. In quotes each is an ID."""
    data = refused(text).data
    first = text.split(maxsplit=1)[0]

    assert (data["slip"], data["meant"], data["alone"]) == (Slip.NOT_OURS, meant, text == first)
    assert parse(" ".join(f'"{word}"' for word in text.split())) == ReloadModels(tuple(text.split()))


@pytest.mark.parametrize(
    ("linked", "model_id"),
    [
        ("<http://flux.dev|flux.dev>", "flux.dev"),
        ("<mailto:model@v1.co|model@v1.co>", "model@v1.co"),
        ("<http://hub.ai/flux-1.0|hub.ai/flux-1.0>", "hub.ai/flux-1.0"),
        ("org:<http://flux.dev|flux.dev>", "org:flux.dev"),
        ("`<http://flux.dev|flux.dev>`", "flux.dev"),
    ],
)
def test_an_id_that_slack_made_a_link_of_is_read_as_it_was_typed(linked: str, model_id: str) -> None:
    """Its label is what was typed."""
    assert parse(linked) == ReloadModels((model_id,))
    assert parse(f"sdxl,{linked}") == ReloadModels(("sdxl", model_id))


@pytest.mark.parametrize("link", ["<http://flux.dev>", "<http://flux.dev|flux.io>", "<https://x.co/flux|flux>"])
def test_another_link_is_no_id(link: str) -> None:
    """One that somebody made, or whose scheme was typed."""
    assert refused(link).data["slip"] in (Slip.NOT_A_PAGE, Slip.NOT_AN_ID)


@given(typed)
@example("\u201c" * 4000)
@example("`" * 8000)
@example("a" * 8000)
@example("help\n" * 1600)
def test_any_text_is_a_word_or_a_valid_id_or_refused(text: str) -> None:
    """Nothing else comes of it."""
    with suppress(Refused):
        command: Command = parse(text)
        assert isinstance(command, Word | Pick) or all(MODEL_ID.fullmatch(id_) for id_ in command.model_ids)


@given(st.from_regex(MODEL_ID, fullmatch=True), st.sampled_from(QUOTED))
def test_every_id_can_be_asked_for(model_id: str, quoted: str) -> None:
    """Whatever an id looks like, quoted it is itself, unless it is an address."""
    assume("://" not in model_id and "modelslab.com" not in model_id.lower())

    assert parse(quoted.format(model_id)) == ReloadModels((model_id,))


@pytest.mark.parametrize(
    ("text", "model_id"),
    [
        ("sdxl", "sdxl"),
        (" `status` ", "status"),
        ("helpp", "helpp"),
        ("sdxl.", "sdxl."),
        ("", None),
        ('""', None),
        ("two words", None),
        ("https://example.com/x", None),
    ],
)
def test_where_no_word_is_a_command_only_ids_are_read(text: str, model_id: str | None) -> None:
    """As in the picker's fields."""
    assert read_id(text) == model_id


READERS: dict[str, Callable[[str], object]] = {
    "parse": parse,
    "read_id": read_id,
    "after_mention": lambda text: after_mention(text, "U0BOT"),
    "pressed": lambda text: pressed(Action.AGAIN, text),
}


def processor_time(read: Callable[[str], object], text: str) -> float:
    """Seconds that reading a text takes, without what others do meanwhile: the best of three."""
    times = []
    for _ in range(3):
        began = time.thread_time()
        with suppress(Refused):
            read(text)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "part",
    [
        *" ,;`\"'</?|a\u00a0\u200b\u2019",
        *(" ,;", "'\"`", "' ", "'a ", "'a'b ", "< ", "<a ", "<>", "<@", "<@A|", "<http://", "<a:b|", "a ", "0."),
        "modelslab.com/models/",
    ],
)
def test_reading_takes_no_longer_than_the_text_is(reader: str, part: str) -> None:
    """32 times the text takes about 32 times as long. It would be 1024 times if a pattern went back and forth."""
    read = READERS[reader]
    short, long = (part * (length // len(part)) for length in (1_000, 32_000))

    assert processor_time(read, long) < 100 * max(processor_time(read, short), 0.0002)
