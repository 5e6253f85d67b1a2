"""What people are told of an error is written once, beside it, and in one voice."""

import re

import pytest

from bot import errors
from bot.errors import (
    Declined,
    Failure,
    GroupUnread,
    InternalError,
    ModelsLabError,
    ModelsLabPermanentError,
    ModelsLabRetryableError,
    NotACommand,
    NotAllowed,
    NotListed,
    NotReady,
    NotRecorded,
    OtherWorkspace,
    ReloadIsOver,
    ReloadModelError,
    SettingsError,
    SlackError,
    SlackPermanentError,
    SlackRetryableError,
    TooManyCommands,
    TooManyInFlight,
    Uncertain,
    WrongChannel,
)

DECLINED = [
    NotACommand("<!here> sdxl", "is more than one word", "help", model_id="helpp"),
    NotAllowed("U0ADA"),
    GroupUnread([f"S0{number}" for number in range(9)]),
    OtherWorkspace(),
    WrongChannel(["C0MODELS", "<!channel>"]),
    TooManyCommands(30, 600.0),
    TooManyInFlight(100),
    NotRecorded(),
    ReloadIsOver(),
    NotReady(),
    NotListed(),
    InternalError(),
    Uncertain(),
]


def leaves(error: type[ReloadModelError]) -> set[type[ReloadModelError]]:
    """The errors below this one, down the tree."""
    below = error.__subclasses__()
    return {leaf for child in below for leaf in leaves(child)} if below else {error}


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every error of the module stands in the drawing at its top, and the other way round."""
    drawn = set(re.findall(r"^(?:.*── )?(\w+Error|(?<=── )\w+)", errors.__doc__ or "", re.MULTILINE))
    tree = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, ReloadModelError)
    }

    assert tree == drawn


def test_every_way_to_decline_is_held_to_the_rules_below() -> None:
    """A new one has to be added to this list."""
    assert leaves(Declined) == {type(declined) for declined in DECLINED}
    assert len({declined.audit for declined in DECLINED}) == len(DECLINED)


@pytest.mark.parametrize("declined", DECLINED, ids=lambda declined: declined.audit)
def test_a_refusal_is_calm_and_says_whether_anything_was_started(declined: Declined) -> None:
    """One or more whole sentences without a shout, and without markup that anybody typed."""
    nothing_begun = not isinstance(declined, InternalError | NotListed | Uncertain)

    assert declined.told == str(declined)
    assert declined.told.endswith(".")
    assert "!" not in declined.told.replace("&lt;!", "")
    assert ("Nothing was started" in declined.told) is nothing_begun
    assert "<!" not in declined.told
    assert len(declined.told) < 3000


def test_a_refusal_of_a_channel_names_ten_at_most() -> None:
    """A long list of channels stays readable."""
    assert WrongChannel([f"C{number}" for number in range(99)]).told.count("<#") == 10


@pytest.mark.parametrize("failure", Failure)
def test_a_failure_says_why_and_what_to_do(failure: Failure) -> None:
    """The why is the end of a sentence, the mend a sentence of its own; neither shouts or promises."""
    assert failure.why[-1].isalpha()
    assert not failure.why.startswith("The ")
    assert failure.mend.endswith(".")
    assert failure.mend[0].isupper()
    assert not {"!", "<", ">", "\n"} & set(failure.why + failure.mend)
    assert "ready" not in failure.why + failure.mend


def test_failures_are_told_apart() -> None:
    """No two say the same, so no two are aliases of one another."""
    assert len({failure.why for failure in Failure}) == len(Failure.__members__)


def test_settings_errors_carry_every_fault() -> None:
    """The faults can be told one by one."""
    assert SettingsError(["one", "two"]).faults == ("one", "two")
    assert str(SettingsError(["one", "two"])) == "one; two"


def test_a_failed_call_carries_what_is_known_of_it() -> None:
    """Which failure, in whose words, whether it may have worked, and when to ask again."""
    refused = ModelsLabPermanentError(Failure.KEY)
    again = ModelsLabRetryableError(Failure.DOWN, "HTTP 502", unknown=True, wait=3.0)

    assert isinstance(refused, ModelsLabError)
    assert (refused.failure, refused.said, refused.unknown, str(refused)) == (Failure.KEY, "", False, Failure.KEY.why)
    assert (again.failure, again.said, again.unknown, again.wait) == (Failure.DOWN, "HTTP 502", True, 3.0)
    assert str(again) == "ModelsLab's service is failing: HTTP 502"


def test_a_failed_post_carries_slacks_code() -> None:
    """And when to try again, where Slack said so."""
    failures: list[SlackError] = [SlackPermanentError("is_archived"), SlackRetryableError("ratelimited", 7.0)]

    assert [failed.code for failed in failures] == ["is_archived", "ratelimited"]
    assert SlackRetryableError("ratelimited", 7.0).wait == 7.0
    assert SlackRetryableError("fatal_error").wait is None
