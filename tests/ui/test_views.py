"""The picker and the Home tab, where no scenario gets."""

import json
from dataclasses import replace

from bot.core.models import HomeData, ListedReload, ModelGroup, State
from bot.errors import Failure
from bot.ui import views
from tests.samples import ACCEPTED, NOON, subscriber


def test_suggestions_keep_within_slacks_limit_in_all() -> None:
    """An earlier group leaves some room to those after it."""
    for typed, many, shown in (
        (None, (200, 200, 200), [40, 30, 30]),
        ("m", (200, 200, 200), [1, 39, 30, 30]),
        ("m", (5, 200, 200), [1, 5, 64, 30]),
        (None, (200, 0, 200), [70, 30]),
        (None, (200, 3, 2), [95, 3, 2]),
        (None, (0, 0, 200), [100]),
    ):
        found = {group: [f"{group}-{n}" for n in range(count)] for group, count in zip(ModelGroup, many, strict=True)}

        assert [len(group.to_dict()["options"]) for group in views.suggestions(typed, found)] == shown


def test_the_home_tab_offers_to_reload_what_ended_a_while_ago_and_to_try_a_failure_again() -> None:
    """At once, with the models that may have been meant. What has just been reloaded needs no other reload."""
    done = replace(ACCEPTED, state=State.DONE)
    lately, old = replace(done, model_id="new", ended_at=NOON + 900), replace(done, model_id="old", ended_at=NOON + 122)
    failed = replace(done, ended_at=NOON + 900, failure=Failure.UNKNOWN_MODEL, similar=("sd-xl",))
    recent = [ListedReload(reload, [subscriber()], NOON + 1000) for reload in (lately, old, failed)]
    text = json.dumps(views.home(HomeData([], 0, recent, [], NOON + 1000), 120.0, "U0BEN").to_dict())

    labels = ("Reload new again", "Reload old again", "Try sdxl again", "Reload sd-xl")
    assert [f'"{label}"' in text for label in labels] == [False, True, True, True]
