"""The text after /reload-model is read as people type it."""

import time
import timeit
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import assume, given, settings
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

# What is pasted comes with spaces that do not break or have no width.
SPACES = [
    *(" ", "\t", "\n", "\r\n", "\v", "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}", "\N{FIGURE SPACE}"),
    *("\N{EM SPACE}", "\N{IDEOGRAPHIC SPACE}", "\N{WORD JOINER}", "\N{ZERO WIDTH NO-BREAK SPACE}"),
    *("\N{ZERO WIDTH SPACE}", "\N{LEFT-TO-RIGHT MARK}", "\N{RIGHT-TO-LEFT EMBEDDING}", "\N{LINE SEPARATOR}"),
]
# Languages and keyboards differ.
QUOTED = [
    *("`{}`", "``{}``", "```{}```", "` {} `", '"{}"', "'{}'", "\"'{}'\""),
    *("\u201c{}\u201d", "\u201d{}\u201d", "\u201e{}\u201c", "\u201e{}\u201d", "\u201c{}\u201c"),
    *('\u201c{}"', '"{}\u201d'),
    *("\u2018{}\u2019", "\u2019{}\u2019", "\u201a{}\u2018", "\u2039{}\u203a", "\u203a{}\u2039"),
    *("\u00ab{}\u00bb", "\u00bb{}\u00ab", "\u00ab\u00a0{}\u00a0\u00bb"),
]


def refused(text: str, name: str = "reload-model") -> Refused:
    """Why this text is no command."""
    with pytest.raises(Refused) as raised:
        parse(text, name)
    assert raised.value.reason is Refusal.NOT_A_COMMAND
    return raised.value


@pytest.mark.parametrize(
    ("text", "command"),
    [
        # One ID, taken as it is typed, capitals and all.
        *(
            (model_id, ReloadModels((model_id,)))
            for model_id in (
                "sdxl",
                "7",
                "Realistic_Vision.v5-1",
                "stabilityai/xl-base-1.0",
                "a:b@2+lora",
                "x" * MAX_ID,
            )
        ),
        # Several, with spaces or commas between them; one that is given twice counts once.
        *(
            (text, ReloadModels(("sdxl", "flux")))
            for text in ("sdxl flux", "sdxl,flux", "sdxl, flux", "sdxl;flux", "sdxl\u00a0flux", "sdxl\nflux\n")
        ),
        *((text, ReloadModels(("sdxl", "flux"))) for text in ('"sdxl" `flux`', "sdxl flux sdxl")),
        # A word, in any case; nothing at all asks for the picker.
        *((text, Word.STATUS) for text in ("status", "Status", "STATUS ")),
        *((text, Pick()) for text in ("", " \u00a0")),
        # People write sentences: punctuation at the end of a word is no part of it, unless it is in quotes.
        *((text, ReloadModels(("sdxl",))) for text in ("sdxl.", "@reload-model sdxl")),
        ("sdxl, flux!", ReloadModels(("sdxl", "flux"))),
        (": sdxl: flux ...", ReloadModels(("sdxl", "flux"))),
        ("sdxl-1.0 org:flux.", ReloadModels(("sdxl-1.0", "org:flux"))),
        ("https://modelslab.com/models/flux-dev.", ReloadModels(("flux-dev",))),
        # The commas of an address's query are its own, unless another address follows.
        ("modelslab.com/models/x/sdxl?ids=flux,a;b, sd3", ReloadModels(("sdxl", "sd3"))),
        ("https://modelslab.com/models/a,https://modelslab.com/models/b", ReloadModels(("a", "b"))),
        ("HTTPS://modelslab.com/models/a?x=1,2,modelslab.com/models/b,c", ReloadModels(("a", "b", "c"))),
        *((text, ReloadModels(("sdxl",))) for text in ('*"sdxl"*', "*`sdxl`*", '"*sdxl*"')),
        ('"sdxl."', ReloadModels(("sdxl.",))),
        ('"sdxl".', ReloadModels(("sdxl",))),
        ("help?", Word.HELP),
        ("status!", Word.STATUS),
        ("!", Pick()),
        ("?", Word.HELP),
    ],
)
def test_a_text_is_read_as(text: str, command: Command) -> None:
    """Model IDs, a word, or the picker."""
    assert parse(text) == command


@pytest.mark.parametrize("space", SPACES)
def test_every_kind_of_space_around_is_ignored(space: str) -> None:
    """Around a word and around an ID."""
    for text in ("sdxl", "status"):
        assert parse(f"{space}{text}{space}{space}") == parse(text)


@pytest.mark.parametrize("quoted", QUOTED)
@given(model_id=st.sampled_from(["status", "Help", "statuss"]) | st.from_regex(MODEL_ID, fullmatch=True))
@settings(max_examples=10)
def test_every_id_can_be_asked_for(quoted: str, model_id: str) -> None:
    """Whatever it looks like, quoted it is itself, unless it is an address."""
    assume("://" not in model_id and "modelslab.com" not in model_id.lower())

    assert parse(quoted.format(model_id)) == ReloadModels((model_id,))


PAGES = [
    "https://modelslab.com/models/flux-dev",
    "https://modelslab.com/models/black-forest/flux-dev",
    "http://www.modelslab.com/models/black-forest/flux-dev/",
    "modelslab.com/models/flux-dev?tab=api#try",
    "HTTPS://ModelsLab.com/models/black-forest/flux-dev",
    "https://modelslab.com/models/black-forest/flux%2Ddev",
    "<https://modelslab.com/models/black-forest/flux-dev>",
    "<https://modelslab.com/models/black-forest/flux-dev|modelslab.com/models/black-forest/flux-dev>",
    "`https://modelslab.com/models/flux-dev`",
]


@pytest.mark.parametrize(
    ("text", "model_id"),
    [
        *((page, "flux-dev") for page in PAGES),
        # What Slack makes of an ID that looks like an address: its label is what was typed.
        ("<http://flux.dev|flux.dev>", "flux.dev"),
        ("<mailto:model@v1.co|model@v1.co>", "model@v1.co"),
        ("<http://hub.ai/flux-1.0|hub.ai/flux-1.0>", "hub.ai/flux-1.0"),
        ("org:<http://flux.dev|flux.dev>", "org:flux.dev"),
        ("`<http://flux.dev|flux.dev>`", "flux.dev"),
    ],
)
def test_the_address_of_a_page_and_an_id_with_a_link_are_read_as_the_id(text: str, model_id: str) -> None:
    """However it was pasted, alone or beside others, and in the picker."""
    assert parse(text) == ReloadModels((model_id,))
    assert parse(f"sdxl,{text}, midjourney") == ReloadModels(("sdxl", model_id, "midjourney"))
    assert read_id(text) == model_id


@pytest.mark.parametrize(
    ("text", "slip", "meant"),
    [
        *((text, Slip.NOTHING_QUOTED, None) for text in ('""', "``", "\u201c\u00a0\u201d", "'\"\"'")),
        ('"sdxl flux"', Slip.SPACE, None),
        ("x" * 129, Slip.TOO_LONG, None),
        *((text, Slip.NOT_AN_ID, None) for text in ("_sdxl", "żółw", "<!channel", "→", "=", "<#C0OPS|ops>")),
        *((text, Slip.NOT_AN_ID, "status") for text in ('"status', "status'", "`status\u201d", "'status\"")),
        ("/history", Slip.NOT_AN_ID, "history"),
        *((text, Slip.OPTION, None) for text in ("--force", "-")),
        ("--help", Slip.OPTION, "help"),
        ("-status", Slip.OPTION, "status"),
        *(
            (text, Slip.NOT_A_PAGE, None)
            for text in ("https://example.com/models/sdxl", "<https://modelslab.com/pricing|pricing>", "modelslab.com")
        ),
        *(  # links that somebody made, or whose scheme was typed
            (text, Slip.NOT_A_PAGE, None)
            for text in ("<http://flux.dev>", "<http://flux.dev|flux.io>", "<https://x.co/flux|flux>")
        ),
        *((text, Slip.CANCEL, None) for text in ("cancel", "Stop")),
    ],
)
def test_a_slip_is_named(text: str, slip: Slip, meant: str | None) -> None:
    """With the word that it resembles, if any. One slip among several IDs starts none of them."""
    data = refused(text).data

    assert (data["slip"], data["meant"], data["alone"]) == (slip, meant, True)
    assert refused(f"sdxl, {text} flux").data == data | {"alone": False}
    assert read_id(text) == (text if slip is Slip.CANCEL else None)


@pytest.mark.parametrize(
    "text",
    [
        "sdxl <@U0BEN>",
        "<@U0BEN|ben>, sdxl",
        "sdxl :pray::skin-tone-2:!",
        "sdxl 🙏",
        "• sdxl",
        "& sdxl +",
        "<!here> sdxl",
    ],
)
def test_what_people_write_beside_a_model_is_left_out(text: str) -> None:
    """Mentions, emoji and signs, unless there is nothing else: then it is shown to them as a slip."""
    assert parse(text) == parse(f"{text} \u200b") == ReloadModels(("sdxl",))
    aside = text.replace("sdxl", "").strip(" ,")
    assert refused(aside).data["slip"] is Slip.NOT_AN_ID


@pytest.mark.parametrize("hint", ["/reload-model {}", "@reload-model {}"])
def test_a_hint_that_was_pasted_with_its_format_is_read(hint: str) -> None:
    """Slack's composer keeps the code format of what was copied."""
    assert parse(f"`{hint.format('sdxl flux')}`") == ReloadModels(("sdxl", "flux"))
    assert parse(f"`{hint.format('status')}`") is Word.STATUS
    assert parse(f"`{hint.format(chr(34) + 'status' + chr(34))}`") == ReloadModels(("status",))
    assert refused(f"please `{hint.format('sdxl')}`").data["meant"] == "sdxl"
    assert refused(f"gpu please {hint.format('sdxl')}", "gpu").data["meant"] == MODEL_HERE


def test_more_models_than_one_command_can_reload_are_refused() -> None:
    """All of them."""
    text = " ".join(f"model-{n}" for n in range(MAX_MODELS + 1))

    assert refused(text).data == {"text": text, "slip": Slip.TOO_MANY, "meant": None, "alone": False}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *((text, "status") for text in ("statsu", "list", "LS", "status all", "list sdxl")),
        *((text, "history") for text in ("histroy", "logs")),
        *((text, "help") for text in ("Helpp", "help me")),
        ("reload", MODEL_HERE),
        ("reload sdxl", "sdxl"),
        ("please reload sdxl and flux", "sdxl flux"),
        # What is suggested works: it is nothing that would be refused again, and nothing less than what was typed.
        ("reload status", "status"),
        ('please "status"', '"status"'),
        ("what is running", "status"),
        ("how do I reload sdxl?", "sdxl"),
        ("sdxl at noon thx", "sdxl"),
        *((text, MODEL_HERE) for text in ("reload cancel", "reload a b c d e f", 'please "x y" z', "what can you do?")),
    ],
)
def test_what_more_likely_means_something_else_is_not_reloaded(text: str, meant: str) -> None:
    """A typo, a word of other programs, or a whole sentence: people are asked. In quotes, or the picker, it's an ID."""
    data = refused(text).data
    first = text.split(maxsplit=1)[0]

    assert (data["slip"], data["meant"], data["alone"]) == (Slip.NOT_OURS, meant, text == first)
    assert parse(f'"{first}"') == ReloadModels((first,))
    assert read_id(first) == first


def processor_time(read: Callable[[str], object], text: str) -> float:
    """Seconds that reading a text takes, without what others do meanwhile: the best of three."""

    def once() -> None:
        with suppress(Refused):
            read(text)

    return min(timeit.repeat(once, timer=time.thread_time, repeat=3, number=1))


@pytest.mark.parametrize(
    "read",
    [parse, read_id, lambda text: after_mention(text, "U0BOT"), lambda text: pressed(Action.AGAIN, text)],
    ids=["parse", "read_id", "after_mention", "pressed"],
)
@pytest.mark.parametrize(
    "part",
    [
        *" ,;`\"'</?|a\u00a0\u200b\u2019",
        *(" ,;", "'\"`", "' ", "'a ", "'a'b ", "< ", "<a ", "<>", "<@", "<@A|", "<http://", "<a:b|", "a ", "0."),
        "modelslab.com/models/",
    ],
)
def test_reading_takes_no_longer_than_the_text_is(read: Callable[[str], object], part: str) -> None:
    """32 times the text takes about 32 times as long. It would be 1024 times if a pattern went back and forth."""
    short, long = (part * (length // len(part)) for length in (1_000, 32_000))

    assert processor_time(read, long) < 100 * max(processor_time(read, short), 0.0002)
