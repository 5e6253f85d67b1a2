"""The exceptions make one tree, and carry a reason and data."""

import re

import pytest

from bot import errors
from bot.errors import (
    Failure,
    ModelsLabError,
    ModelsLabPermanentError,
    ModelsLabRetryableError,
    Refusal,
    Refused,
    ReloadModelError,
    SettingsError,
    SlackError,
    SlackPermanentError,
    SlackRetryableError,
)


def drawn() -> dict[str, str]:
    """Each exception of the drawing at the module's top, and the one that it stands below."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for indent, name in re.findall(r"^([│├└─ ]*)([A-Z]\w+)", (errors.__doc__ or "").split("\n\n")[1], re.MULTILINE):
        depth = len(indent) // 4
        above[depth:] = [name]
        parents[name] = above[depth - 1] if depth else "Exception"
    return parents


def test_the_tree_is_drawn_as_it_is() -> None:
    """Every exception of the module is in the drawing, below its base, and the other way round."""
    tree = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ReloadModelError) and value.__base__
    }

    assert tree == drawn()


@pytest.mark.parametrize("reasons", [Refusal, Failure])
def test_a_reasons_value_fits_the_audit_the_database_and_a_metric(reasons: type[Refusal] | type[Failure]) -> None:
    """Lower case, and different from all others."""
    assert all(re.fullmatch(r"[a-z_]+", reason.value) for reason in reasons)
    assert len({reason.value for reason in reasons}) == len(reasons.__members__)


def test_a_failure_of_a_newer_version_is_an_internal_one() -> None:
    """It must not keep this version from telling people that the reload failed."""
    assert Failure("invented_later") is Failure.INTERNAL


def test_settings_errors_carry_every_problem() -> None:
    """So that they can be listed one by one."""
    assert SettingsError(["one", "two"]).problems == ("one", "two")
    assert str(SettingsError(["one", "two"])) == "one; two"


def test_a_refusal_carries_its_reason_its_rule_and_what_the_sentence_names() -> None:
    """And no text of its own."""
    refused = Refused(Refusal.TOO_MANY_IN_FLIGHT, rule="MAX_IN_FLIGHT", limit=2)

    assert (refused.reason, refused.rule, refused.data) == (Refusal.TOO_MANY_IN_FLIGHT, "MAX_IN_FLIGHT", {"limit": 2})
    assert str(refused) == "too_many_in_flight"


def test_a_failed_call_carries_what_is_known_of_it() -> None:
    """Which failure, in whose words, whether it may have worked, and when to try again."""
    refused = ModelsLabPermanentError(Failure.KEY)
    again = ModelsLabRetryableError(Failure.DOWN, "HTTP 502", unknown=True, wait=3.0)

    assert isinstance(refused, ModelsLabError)
    assert (refused.failure, refused.said, refused.unknown, str(refused)) == (Failure.KEY, "", False, "key")
    assert (again.failure, again.said, again.unknown, again.wait) == (Failure.DOWN, "HTTP 502", True, 3.0)
    assert str(again) == "down: HTTP 502"


def test_a_failed_post_carries_slacks_code() -> None:
    """And when to try again, where Slack said so."""
    failures: list[SlackError] = [SlackPermanentError("is_archived"), SlackRetryableError("ratelimited", 7.0)]

    assert [failed.code for failed in failures] == ["is_archived", "ratelimited"]
    assert SlackRetryableError("ratelimited", 7.0).wait == 7.0
    assert SlackRetryableError("fatal_error").wait is None
