"""The picker and the Home tab: valid by Slack's own SDK, even with the longest IDs, and in plain words."""

import json
from collections.abc import Sequence

import pytest
from slack_sdk.models.blocks import OptionGroup
from slack_sdk.models.views import View

from bot.core.command import MAX_ID
from bot.core.models import HomeData, ListedReload, ModelGroup, Reload, Reminder, State, Subscriber
from bot.errors import Failure
from bot.ui import views

LONGEST = "m" * (MAX_ID - 1) + "z"
NOW = 1_800_000_000.0


def shown(view: View) -> str:
    """The view as Slack gets it; the SDK checks Slack's limits as it writes it."""
    return json.dumps(view.to_dict(), ensure_ascii=False)


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
        similar=("old-model",) if failure else (),
    )
    return ListedReload(reload, [Subscriber(1, reload.id, "U0ADA", "C0MODELS", reload.requested_at)], NOW)


def full(*, many: int = 1) -> HomeData:
    """All that there can be to see."""
    return HomeData(
        [a_reload(State.ACCEPTED)] * many,
        many + 3,
        [a_reload(State.DONE, ended_ago=90_000.0)] * many,
        [Reminder(LONGEST, "7k3m9p", "C0MODELS", NOW, NOW + 500_000.0)] * many,
        NOW,
    )


@pytest.mark.parametrize("model_id", ["", "sdxl", LONGEST])
@pytest.mark.parametrize("channel_id", ["", "C0MODELS"])
def test_the_picker_is_valid(channel_id: str, model_id: str) -> None:
    """With and without what is filled in already."""
    view = views.picker(channel_id, model_id).to_dict()
    model, _, where = (block["element"] for block in view["blocks"])

    assert view.get("private_metadata", "") == channel_id
    assert model.get("initial_option", {}).get("value", "") == model_id
    assert where.get("initial_conversation", "") == channel_id
    assert where.get("default_to_current_conversation", False) is not bool(channel_id)


def test_a_long_id_is_shortened_where_it_is_shown_and_whole_where_it_counts() -> None:
    """An option's text is bounded at 75 characters, and both ends of an id tell which it is."""
    option = views.option(LONGEST).to_dict()

    assert option["value"] == LONGEST
    assert option["text"] == {"type": "plain_text", "text": "m" * 37 + "…" + "m" * 36 + "z", "emoji": False}


def labelled(groups: Sequence[OptionGroup]) -> dict[str, list[str]]:
    """The IDs in each group, by its label; the SDK checks Slack's limits as it writes them."""
    shown = [group.to_dict() for group in groups]
    return {group["label"]["text"]: [option["value"] for option in group["options"]] for group in shown}


def test_suggestions_are_grouped_by_where_models_are_known_from() -> None:
    """What was typed comes first, and once only; a group without models is left out."""
    found = {ModelGroup.RELOADED: ["sdxl", "sd"], ModelGroup.OWN: [], ModelGroup.PUBLIC: ["sd-turbo"]}

    assert labelled(views.suggestions("sd", found)) == {
        "What you typed": ["sd"],
        "Reloaded here": ["sdxl"],
        "Public": ["sd-turbo"],
    }
    assert labelled(views.suggestions(None, {ModelGroup.OWN: ["our-mascot"]})) == {"Yours": ["our-mascot"]}
    assert views.suggestions(None, {ModelGroup.OWN: []}) == []


@pytest.mark.parametrize(
    ("typed", "many", "shown"),
    [
        (None, (200, 200, 200), [40, 30, 30]),
        ("m", (200, 200, 200), [1, 39, 30, 30]),
        ("m", (5, 200, 200), [1, 5, 64, 30]),
        (None, (200, 0, 200), [70, 30]),
        (None, (200, 3, 2), [95, 3, 2]),
        (None, (0, 0, 200), [100]),
    ],
)
def test_suggestions_keep_within_slacks_limit_in_all(
    typed: str | None, many: tuple[int, int, int], shown: list[int]
) -> None:
    """An earlier group leaves some room to those after it."""
    found = {group: [f"{group}-{n}" for n in range(count)] for group, count in zip(ModelGroup, many, strict=True)}

    assert [len(ids) for ids in labelled(views.suggestions(typed, found)).values()] == shown


def test_a_notice_has_nothing_to_submit() -> None:
    """However long its text is."""
    view = views.notice("Reloading `sdxl`. " * 300).to_dict()

    assert "submit" not in view
    assert len(view["blocks"]) == 2


def test_a_full_home_tab_is_valid_and_small() -> None:
    """It comes back whole with every press, and a request's body is bounded at 512 KiB."""
    view = views.home(full(many=10), 120.0, "U0BEN")

    assert len(view.to_dict()["blocks"]) <= 100
    assert len(shown(view)) < 20_000


def test_an_empty_home_tab_says_so() -> None:
    """Each list has its words for nothing."""
    text = shown(views.home(HomeData([], 0, [], [], NOW), 120.0, "U0BEN"))

    assert [words in text for words in ("No reloads right now.", "No reloads yet.", "No reminders set.")] == [True] * 3


def test_a_home_tab_in_which_nothing_can_be_done_says_why() -> None:
    """In the words of the refusal."""
    assert "U0EVE" in shown(views.home_notice("Your Slack ID is `U0EVE`."))


def test_only_what_ended_a_while_ago_can_be_reloaded_again() -> None:
    """What has just been reloaded needs no other."""
    lately = HomeData([], 0, [a_reload(State.DONE, "late", ended_ago=10.0)], [], NOW)
    long_ago = HomeData([], 0, [a_reload(State.DONE, "old", ended_ago=10_000.0)], [], NOW)

    assert "Reload late again" not in shown(views.home(lately, 120.0, "U0BEN"))
    assert "Reload old again" in shown(views.home(long_ago, 120.0, "U0BEN"))


def test_what_failed_can_be_tried_again() -> None:
    """At once, with the models that may have been meant."""
    failed = HomeData([], 0, [a_reload(State.DONE, "old", ended_ago=1.0, failure=Failure.UNKNOWN_MODEL)], [], NOW)
    text = shown(views.home(failed, 120.0, "U0BEN"))

    assert '"Try old again"' in text
    assert '"Reload old-model"' in text
