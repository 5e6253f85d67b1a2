"""The picker and the Home tab: valid by Slack's own SDK, at their longest ids too, and in plain words."""

from typing import Any

import pytest
from slack_sdk.models.views import View

from bot.core.command import MAX_ID
from bot.core.models import HomeData, ListedReload, Reload, Reminder, State, Subscriber
from bot.errors import Failure
from bot.ui import views

LONGEST = "m" * (MAX_ID - 1) + "z"
NOW = 1_800_000_000.0


def parsed(view: views.View) -> views.View:
    """The view, once the SDK has read it, found nothing wrong with it, and written it again."""
    fields: dict[str, Any] = dict(view)
    assert View(**fields).to_dict() == fields
    return view


def a_reload(
    state: State, model_id: str = LONGEST, *, ended_ago: float = 0.0, failure: Failure | None = None
) -> ListedReload:
    """An entry of a list."""
    accepted = state is not State.REQUESTED
    reload = Reload(
        "7k3m9p",
        model_id,
        state,
        NOW - 200 - ended_ago,
        accepted_at=NOW - 180 - ended_ago if accepted else None,
        ready_at=NOW + 60 - ended_ago if accepted else None,
        ended_at=NOW - ended_ago if state is State.DONE else None,
        failure=failure,
    )
    return ListedReload(reload, Subscriber(1, reload.id, "U0ADA", "C0MODELS", reload.requested_at), 2, NOW)


def glance(*, many: int = 1) -> HomeData:
    """All that there can be to see."""
    return HomeData(
        [a_reload(State.ACCEPTED)] * many,
        many + 3,
        [a_reload(State.DONE, ended_ago=90_000.0)] * many,
        [Reminder(LONGEST, "7k3m9p", "C0MODELS", NOW, NOW + 500_000.0)] * many,
        NOW,
    )


# --- the picker -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", ["", "sdxl", LONGEST])
@pytest.mark.parametrize("channel_id", ["", "C0MODELS"])
def test_the_picker_is_valid(channel_id: str, model_id: str) -> None:
    """With and without what is filled in already."""
    view = parsed(views.picker(channel_id, model_id))

    assert view.get("private_metadata", "") == channel_id


def test_a_long_id_is_shortened_where_it_is_shown_and_whole_where_it_counts() -> None:
    """An option's text is bounded at 75 characters, and both ends of an id tell which it is."""
    option = views.option(LONGEST)

    assert option["value"] == LONGEST
    assert option["text"] == {"type": "plain_text", "text": "m" * 37 + "…" + "m" * 36 + "z", "emoji": False}


def test_what_was_picked_comes_back() -> None:
    """The channel of the field, else the one in which the picker was opened."""
    values = {
        "model": {"model": {"selected_option": {"value": "sdxl"}}},
        "typed": {"typed": {"value": "flux"}},
        "where": {"where": {"selected_conversation": "C0OPS"}},
    }

    assert views.picked({"state": {"values": values}, "private_metadata": "C0MODELS"}) == ("sdxl", "flux", "C0OPS")
    assert views.picked({"state": {"values": {}}, "private_metadata": "C0MODELS"}) == ("", "", "C0MODELS")
    assert views.picked({"state": {"values": {"model": "x", "typed": {"typed": {"value": 7}}}}}) == ("", "", "")


def test_what_is_told_in_its_place_is_valid() -> None:
    """It has nothing to submit."""
    view = parsed(views.told("Reloading `sdxl`. " * 300))

    assert "submit" not in view


# --- the Home tab ---------------------------------------------------------------------------------------


def test_a_full_home_tab_is_valid_and_small() -> None:
    """It comes back whole with every press, and a request's body is bounded at 64 KiB."""
    view = parsed(views.home(glance(many=10), 120.0))
    shown = view["blocks"]

    assert isinstance(shown, list)
    assert len(shown) <= 100
    assert len(str(shown)) < 20_000


def test_an_empty_home_tab_says_so() -> None:
    """Each list has its words for nothing."""
    view = parsed(views.home(HomeData([], 0, [], [], NOW), 120.0))

    assert str(view).count("'Nothing.'") == 3


def test_the_home_tab_of_a_stranger_says_whom_to_ask() -> None:
    """In the words of the refusal."""
    view = parsed(views.home_of_a_stranger("You are not allowed. Your id is `U0EVE`."))

    assert "U0EVE" in str(view)


def test_only_what_ended_a_while_ago_can_be_reloaded_again() -> None:
    """What has just been reloaded needs no other."""
    lately = HomeData([], 0, [a_reload(State.DONE, "late", ended_ago=10.0)], [], NOW)
    long_ago = HomeData([], 0, [a_reload(State.DONE, "old", ended_ago=10_000.0)], [], NOW)

    assert "Reload again" not in str(views.home(lately, 120.0))
    assert "Reload again" in str(views.home(long_ago, 120.0))


def test_what_failed_can_be_tried_again() -> None:
    """It was not reloaded, so nobody is asked to reload it again."""
    failed = HomeData([], 0, [a_reload(State.DONE, "old", ended_ago=10_000.0, failure=Failure.DOWN)], [], NOW)
    shown = str(views.home(failed, 120.0))

    assert "Try again" in shown
    assert "Reload again" not in shown
