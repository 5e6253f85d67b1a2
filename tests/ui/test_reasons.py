"""Every reason has its sentence, in one voice."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.access import Allowlist, Home, Person
from bot.core.command import Slip, parse
from bot.core.grants import RequestState
from bot.errors import Failure, Refusal, Refused
from bot.ui.reasons import FAILURES, REFUSALS, SLIPS, either, sentence

ADA = Person("U0ADA", "T0HOME", "C0OTHER")

REFUSED = {
    Refusal.NOT_A_COMMAND: Refused(
        Refusal.NOT_A_COMMAND, text="<!here> sdxl", slip=Slip.SPACE, meant=None, alone=False
    ),
    Refusal.NOT_ALLOWED: Refused(Refusal.NOT_ALLOWED, user_id="U0ADA"),
    Refusal.ALREADY_DECIDED: Refused(Refusal.ALREADY_DECIDED, decided_by="U0ADA"),
    Refusal.GROUP_UNREAD: Refused(Refusal.GROUP_UNREAD, groups=[f"S0{number}" for number in range(9)]),
    Refusal.OTHER_WORKSPACE: Refused(Refusal.OTHER_WORKSPACE, interaction=True),
    Refusal.WRONG_CHANNEL: Refused(Refusal.WRONG_CHANNEL, channels=["C0MODELS", "<!channel>"]),
    Refusal.UNKNOWN_COMMAND: Refused(Refusal.UNKNOWN_COMMAND, typed="/<!here>"),
    Refusal.TOO_MANY_COMMANDS: Refused(Refusal.TOO_MANY_COMMANDS, limit=30, seconds=600.0),
    Refusal.TOO_MANY_IN_FLIGHT: Refused(Refusal.TOO_MANY_IN_FLIGHT, limit=100),
}
"""One of each reason that takes data; the others take none."""


def told(text: str) -> str:
    """The answer to somebody who typed this, or "" if it is a command."""
    try:
        parse(text)
    except Refused as slip:
        return sentence(slip, "/reload-model")
    return ""


def test_every_reason_has_an_entry() -> None:
    """A new one needs a sentence before anybody can be given it as a reason."""
    assert set(REFUSALS) == set(Refusal)
    assert set(FAILURES) == set(Failure)
    assert set(SLIPS) == set(Slip) - {Slip.NOT_OURS}


@pytest.mark.parametrize("reason", Refusal)
def test_a_refusal_is_a_calm_sentence(reason: Refusal) -> None:
    """Whole sentences without a shout, and without markup that anybody typed."""
    text = sentence(REFUSED.get(reason, Refused(reason)), "/reload-model")

    assert re.search(r"[.?)]$", text)
    assert "!" not in text.replace("&lt;!", "")
    assert "<!" not in text
    assert "ready now" not in text
    assert len(text) < 1000


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_says_why_and_what_to_do(failure: Failure) -> None:
    """The why is the end of a sentence, the fix a sentence of its own; neither shouts or promises."""
    explained = FAILURES[failure]

    assert explained.why[-1].isalpha()
    assert not explained.why.startswith("The ")
    assert explained.fix.endswith(".")
    assert explained.fix[0].isupper()
    assert not {"!", "<", ">", "\n"} & set(explained.why + explained.fix)
    assert "ready" not in explained.why + explained.fix


def test_failures_are_told_apart() -> None:
    """No two say the same."""
    assert len({explained.why for explained in FAILURES.values()}) == len(Failure)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            Refusal.UNCERTAIN,
            (
                "I couldn't confirm that I recorded this. If I did, you'll hear from me here; `/reload-model status` "
                "shows it."
            ),
        ),
        (Refusal.NOT_RECORDED, "My database isn't responding, so I didn't start anything. Try again in a minute."),
        (Refusal.OVER, "That reload has already finished. To start another: `/reload-model &lt;model ID&gt;`."),
        (Refusal.WRONG_CHANNEL, "I only work in <#C0MODELS> and <#&lt;!channel&gt;>. Please try there."),
        (Refusal.TOO_MANY_COMMANDS, "You've hit the limit of 30 reloads in 10 minutes. Try again in a few minutes."),
    ],
)
def test_a_refusal_says_what_is_certain_and_what_to_do(reason: Refusal, text: str) -> None:
    """A request that may have been recorded isn't reported as unrecorded."""
    assert sentence(REFUSED.get(reason, Refused(reason)), "/reload-model") == text


def test_a_person_who_is_not_allowed_learns_their_id_and_the_setting() -> None:
    """To pass on to the bot's operator."""
    allowlist = Allowlist({"U0BEN"}, ())
    allowlist.home = Home("T0HOME")
    with pytest.raises(Refused) as refused:
        allowlist.who(ADA)

    assert sentence(refused.value, "/reload-model") == (
        "You don't have permission to reload models. Ask the bot's operator to add your Slack ID, `U0ADA`, to "
        "`ALLOWED_USERS`."
    )


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (None, "An admin can give it to you."),
        (RequestState.OPEN, "You've asked for it, and will get a direct message when an admin decides."),
        (RequestState.DENIED, "An admin denied your request. You can ask again the next day."),
    ],
)
def test_where_there_are_admins_a_person_learns_how_their_request_stands(asked: RequestState | None, what: str) -> None:
    """Instead of their ID, which an admin doesn't need."""
    refused = Refused(Refusal.NOT_ALLOWED, user_id="U0ADA", asked=asked)

    assert sentence(refused, "/reload-model") == f"You don't have permission to reload models. {what}"


def test_a_request_that_nobody_decided_has_expired() -> None:
    """Or was deleted since."""
    assert sentence(Refused(Refusal.ALREADY_DECIDED, decided_by=""), "/reload-model") == "This request has expired."


def test_long_lists_are_cut() -> None:
    """Ten channels, and five user groups."""
    channels = Refused(Refusal.WRONG_CHANNEL, channels=[f"C{number}" for number in range(99)])

    assert sentence(channels, "/reload-model").count("<#") == 10
    assert sentence(REFUSED[Refusal.GROUP_UNREAD], "/reload-model").count("`S0") == 5


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ('"sdxl flux"', "`sdxl flux` isn't a valid model ID: IDs have no spaces."),
        ("--force", "There are no options such as `--force`."),
        ("''", "There is nothing between the quotes."),
        ("x" * 129, f"`{'x' * 59}…` is too long for a model ID: the limit is 128 characters."),
        ("żółw", "`żółw` isn't a valid model ID. IDs start with a letter or digit and can contain letters, digits and"),
        ("<!channel>", "`&lt;!channel&gt;` isn't a valid model ID."),
        ("{text}", "`{text}` isn't a valid model ID."),
    ],
)
def test_a_slip_is_explained(text: str, beginning: str) -> None:
    """With what was typed, harmlessly, and where to read more."""
    assert told(text).startswith(beginning)
    assert told(text).endswith(" See `/reload-model help`.")


def test_a_slip_that_resembles_a_word_is_answered_with_the_word() -> None:
    """In place of the pointer to help."""
    assert told("--help") == "There are no options such as `--help`. Did you mean `/reload-model help`?"


def test_a_reload_cannot_be_cancelled() -> None:
    """People who try read why, and how to reload a model of that name."""
    assert told("stop") == (
        'ModelsLab offers no way to cancel a reload. To reload a model called `stop`, quote it: `/reload-model "stop"`.'
    )


def test_an_id_that_resembles_a_word_can_be_quoted() -> None:
    """And the answer says how."""
    assert told("stauts") == (
        'Did you mean `/reload-model status`? To reload a model called `stauts`, quote it: `/reload-model "stauts"`.'
    )


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["help", "statsu", "--help", "<!channel>", "a" * 130, "\u202e", "\x00", "\ud800", "&lt;"]),
            st.sampled_from([*" \n\u00a0\u200b`\"'<>&/-\u201c\u201d{}"]),
            st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]), max_size=20),
        ),
        max_size=8,
    ).map("".join)
)
@example("\u201c" * 4000)
@example("help\n" * 1600)
def test_whatever_is_typed_is_shown_harmlessly(text: str) -> None:
    """In a text that is bounded, and mentions nobody."""
    shown = told(text)

    assert len(shown) < 1200
    assert not set("<>") & set(shown)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert not re.search(r"&(?!(amp|lt|gt);)", shown)


@pytest.mark.parametrize(("words", "phrase"), [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_words_are_put_into_a_phrase(words: list[str], phrase: str) -> None:
    """As one would say them."""
    assert either(words) == phrase
