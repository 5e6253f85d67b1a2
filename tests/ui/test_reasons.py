"""Every reason has its sentence, in one voice."""

import re
import unicodedata

import pytest
from hypothesis import example, given

from bot.core.command import MODEL_ID, Pick, Slip, Word, parse
from bot.errors import Failure, Refusal, Refused
from bot.ui.reasons import FAILURES, REFUSALS, SLIPS, sentence
from tests.samples import anything_typed

REFUSED = {
    Refusal.NOT_A_COMMAND: Refused(
        Refusal.NOT_A_COMMAND, text="<!here> sdxl", slip=Slip.SPACE, meant=None, alone=False
    ),
    Refusal.NOT_ALLOWED: Refused(Refusal.NOT_ALLOWED, user_id="U0ADA"),
    Refusal.ALREADY_DECIDED: Refused(Refusal.ALREADY_DECIDED, decided_by="U0ADA", by_you=False),
    Refusal.GROUP_UNREAD: Refused(Refusal.GROUP_UNREAD, groups=[f"S0{number}" for number in range(9)]),
    Refusal.OTHER_WORKSPACE: Refused(Refusal.OTHER_WORKSPACE, interaction=True),
    Refusal.WRONG_CHANNEL: Refused(Refusal.WRONG_CHANNEL, channels=["<!channel>", *["C0MODELS"] * 20]),
    Refusal.UNKNOWN_COMMAND: Refused(Refusal.UNKNOWN_COMMAND, typed="/<!here>"),
    Refusal.TOO_MANY_COMMANDS: Refused(Refusal.TOO_MANY_COMMANDS, limit=30, seconds=600.0),
    Refusal.TOO_MANY_IN_FLIGHT: Refused(Refusal.TOO_MANY_IN_FLIGHT, limit=100),
}
"""One of each reason that takes data; the others take none."""


def answer(text: str) -> str:
    """The answer to somebody who typed this, or "" if it is a command: a word, the picker, or valid IDs."""
    try:
        command = parse(text)
    except Refused as slip:
        return sentence(slip, "/reload-model")
    assert isinstance(command, Word | Pick) or all(MODEL_ID.fullmatch(id_) for id_ in command.model_ids)
    return ""


def test_every_reason_has_an_entry() -> None:
    """A new one needs a sentence before anybody can be given it as a reason."""
    assert set(REFUSALS) == set(Refusal)
    assert set(FAILURES) == set(Failure)
    assert set(SLIPS) == set(Slip) - {Slip.NOT_OURS}


@pytest.mark.parametrize("reason", Refusal)
def test_a_refusal_is_a_calm_sentence(reason: Refusal) -> None:
    """Whole sentences without a shout, and without markup that anybody typed. Long lists are cut."""
    text = sentence(REFUSED.get(reason, Refused(reason)), "/reload-model")

    assert re.search(r"[.?)]$", text)
    assert "!" not in text.replace("&lt;!", "")
    assert "<!" not in text
    assert "ready now" not in text
    assert len(text) < 500
    assert text.count("`S0") <= 5
    assert text.count("<#") <= 10


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_says_why_and_what_to_do(failure: Failure) -> None:
    """The why is the end of a sentence and no other's, the fix a sentence of its own; neither shouts or promises."""
    explained = FAILURES[failure]

    assert explained.why[-1].isalpha()
    assert not explained.why.startswith("The ")
    assert [other for other in Failure if FAILURES[other].why == explained.why] == [failure]
    assert explained.fix.endswith(".")
    assert explained.fix[0].isupper()
    assert not {"!", "<", ">", "\n"} & set(explained.why + explained.fix)
    assert "ready" not in explained.why + explained.fix


def test_a_refusal_says_what_was_typed_or_who_decided() -> None:
    """With what to type instead, or where to read more. To an admin who pressed twice it isn't somebody else."""
    decided = {by_you: Refused(Refusal.ALREADY_DECIDED, decided_by="U0ADA", by_you=by_you) for by_you in (True, False)}

    assert sentence(decided[True], "/reload-model") == "You've already decided this."
    assert sentence(decided[False], "/reload-model") == "<@U0ADA> has already decided this."
    quote = 'To reload a model called `{0}`, quote it: `/reload-model "{0}"`.'

    assert answer('"sdxl flux"') == "`sdxl flux` isn't a valid model ID: IDs have no spaces. See `/reload-model help`."
    assert answer("stop") == f"ModelsLab offers no way to cancel a reload. {quote.format('stop')}"
    assert answer("stauts") == f"Did you mean `/reload-model status`? {quote.format('stauts')}"


@given(anything_typed)
@example("\u201c" * 4000)
@example("`" * 8000)
@example("a" * 8000)
@example("help\n" * 1600)
def test_whatever_is_typed_is_a_command_or_shown_harmlessly(text: str) -> None:
    """In a text that is bounded, and mentions nobody."""
    shown = answer(text)

    assert len(shown) < 1200
    assert not set("<>") & set(shown)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not re.search(r"&(?!(amp|lt|gt);)", shown)
