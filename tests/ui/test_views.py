"""The picker and the Home tab."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from slack_sdk.models.blocks import OptionGroup

from bot.core.models import HomeData, ListedReload, ModelGroup, Reload, State
from bot.errors import Failure
from bot.ui import views
from tests.samples import ACCEPTED, NOON, subscriber


@pytest.mark.parametrize("model_id", ["", "sdxl"])
@pytest.mark.parametrize("channel_id", ["", "C0MODELS"])
def test_the_picker_can_be_filled_in_already(channel_id: str, model_id: str) -> None:
    """By default it is for the channel in which it is opened."""
    view = views.picker(channel_id, model_id).to_dict()
    model, _, where = (block["element"] for block in view["blocks"])

    assert view.get("private_metadata", "") == channel_id
    assert model.get("initial_option", {}).get("value", "") == model_id
    assert where.get("initial_conversation", "") == channel_id
    assert where.get("default_to_current_conversation", False) is not bool(channel_id)


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


def home(*recent: Reload) -> str:
    """A Home tab with only these reloads."""
    listed = [ListedReload(reload, [subscriber()], NOON + 1000) for reload in recent]
    return json.dumps(views.home(HomeData([], 0, listed, [], NOON + 1000), 120.0, "U0BEN").to_dict())


def test_an_empty_home_tab_says_so() -> None:
    """Each list has its words for nothing."""
    text = home()

    assert [words in text for words in ("No reloads right now.", "No reloads yet.", "No reminders set.")] == [True] * 3


def test_the_home_tab_offers_to_reload_what_ended_a_while_ago_and_to_try_a_failure_again() -> None:
    """At once, with the models that may have been meant; what has just been reloaded needs no other."""
    done = replace(ACCEPTED, state=State.DONE)
    lately, old = replace(done, model_id="new", ended_at=NOON + 900), replace(done, model_id="old", ended_at=NOON + 122)
    failed = replace(done, ended_at=NOON + 900, failure=Failure.UNKNOWN_MODEL, similar=("sd-xl",))
    text = home(lately, old, failed)

    labels = ("Reload new again", "Reload old again", "Try sdxl again", "Reload sd-xl")
    assert [f'"{label}"' in text for label in labels] == [False, True, True, True]
