"""The answers to `status` and `history`, and the lines of the Home tab."""

import json
import re
from dataclasses import replace

import pytest

from bot.core.models import DAY, HomeData, ListedReload, Person, Reload, Reminder, State
from bot.errors import Failure
from bot.ui import lists, views
from bot.ui.buttons import Action
from bot.ui.messages import Message
from tests.samples import ACCEPTED, ADA, BEN, MODELS, NOON, OPS, RELOAD, subscriber

DONE = replace(ACCEPTED, state=State.DONE, ended_at=NOON + 122)
FAILED = replace(DONE, failure=Failure.UNKNOWN_MODEL, similar=("sd-xl",))
AT_1202_01 = "<!date^1700049721^{time}|12:02 UTC>"
SINCE = "<!date^1700049721^{date_short_pretty} at {time}|15 Nov at 12:02 UTC>"
AT_NOON = "<!date^1700049600^{date_short_pretty} at {time}|15 Nov at 12:00 UTC>"

CEM_HERE, BEN_IN_OPS = Person("U0CEM", "T0HOME", MODELS), Person(BEN, "T0HOME", OPS)


def listed(reload: Reload, *people: str, private: bool = False, now: float = NOON) -> ListedReload:
    """A reload that these people requested in #models."""
    subscribers = [subscriber(n, user_id) for n, user_id in enumerate(people or (ADA,))]
    return ListedReload(reload, [replace(one, private=private) for one in subscribers], now)


def offered(message: Message) -> list[tuple[str, Action, str, str]]:
    """The buttons beside the lines: label, action, what it is about, and the channel."""
    buttons = [button for line in message.lines for button in line.buttons]
    return [(button.label, button.action, button.of, button.place.channel_id) for button in buttons]


def test_status_lists_what_is_running() -> None:
    """Each with its model, how far it is, and who requested it."""
    done = replace(ACCEPTED, state=State.NOTIFYING)
    failed = replace(done, failure=Failure.REFUSED)
    entries = [listed(RELOAD), listed(ACCEPTED, ADA, BEN, ADA), listed(done, ADA, BEN), listed(failed)]

    overdue = lists.running_line(listed(ACCEPTED, now=NOON + 122), CEM_HERE)
    assert overdue == "`sdxl` · due now, notifying people · requested by <@U0ADA>"
    assert lists.running(entries, 6, CEM_HERE).text == (
        "6 models reloading\n"
        "• `sdxl` · ModelsLab hasn't accepted it yet, still trying · requested by <@U0ADA>\n"
        f"• `sdxl` · ready around {AT_1202_01} · requested by <@U0ADA> and 1 more\n"
        "• `sdxl` · done, notifying people · requested by <@U0ADA> and 1 more\n"
        "• `sdxl` · failed, notifying people · requested by <@U0ADA>\n"
        "… and 2 more"
    )


@pytest.mark.parametrize(
    ("viewer", "private", "who"),
    [
        *((CEM_HERE, private, " · requested by <@U0ADA> and 1 more") for private in (False, True)),
        *((Person(user, "T0HOME", OPS), True, " · requested by you and 1 more") for user in (ADA, BEN)),
        (Person("U0CEM", "T0HOME", OPS), False, " · requested by a colleague and 1 more"),
        (Person("U0CEM", "T0HOME", ""), False, " · requested by a colleague and 1 more"),
        (Person("U0CEM", "T0HOME", OPS), True, ""),
        (Person("U0CEM", "T0HOME", ""), True, ""),
    ],
)
def test_a_requester_is_named_only_to_people_who_could_see_the_request(
    viewer: Person, who: str, *, private: bool
) -> None:
    """Of what began in private, others read only which model it is and how it is doing."""
    running, ended = (listed(reload, ADA, BEN, private=private) for reload in (ACCEPTED, DONE))
    failed = replace(FAILED, failure=Failure.DOWN, undeliverable=True)
    line = lists.ended_line(listed(failed, ADA, BEN, private=private), viewer)

    assert lists.running_line(running, viewer) == f"`sdxl` · ready around {AT_1202_01}{who}"
    assert lists.ended_line(ended, viewer) == f"✓ `sdxl` · should be ready since {SINCE}{who}"
    old = lists.ended_line(replace(ended, now=NOON + 8 * DAY), viewer)
    assert re.sub(r"<!date.*?>", "T", old) == f"✓ `sdxl` · reloaded on T, and may have been unloaded since{who}"
    assert line.startswith("✗ `sdxl` · ModelsLab is having problems")
    assert [part in line for part in (AT_NOON, "couldn't notify everyone", "reload `r4x7`")] == [bool(who)] * 3


def test_a_line_offers_what_can_be_done() -> None:
    """Join what runs; reload what ended 5 times as long ago as a reload takes; try a failure at once. So at Home."""
    running = [listed(RELOAD), listed(ACCEPTED), listed(replace(FAILED, state=State.NOTIFYING))]
    soon, later = (listed(replace(DONE, model_id=id_), now=NOON + 122 + ago) for id_, ago in (("a", 599), ("b", 600)))
    ended = [soon, later, replace(later, reload=ACCEPTED), listed(FAILED)]

    assert offered(lists.running(running, 3, BEN_IN_OPS)) == [("Notify me about sdxl", Action.JOIN, "r4x7", OPS)] * 2
    assert offered(lists.history(ended, 120, BEN_IN_OPS)) == [
        ("Reload b again", Action.AGAIN, "b", OPS),
        ("Reload sd-xl", Action.AGAIN, "sd-xl", OPS),
        ("Try sdxl again", Action.AGAIN, "sdxl", OPS),
    ]
    tab = json.dumps(views.home(HomeData([], 0, ended, [], 0), 120.0, BEN_IN_OPS).to_dict())
    labels = ("Reload a again", "Reload b again", "Try sdxl again", "Reload sd-xl")
    assert [f'"{label}"' in tab for label in labels] == [False, True, True, True]
    assert offered(lists.running(running, 3, Person(BEN, "T0HOME", ""))) == []
    assert offered(lists.history(ended, 120, Person(BEN, "T0HOME", ""))) == []


def test_a_reminder_in_a_list_says_when() -> None:
    """Or that it was given."""
    due = Reminder("sdxl", 1700568120.0)
    on = "<!date^1700568120^{date_short} at {time}|21 Nov at 12:02 UTC>"

    assert lists.reminder_line(due) == f"`sdxl` · I'll remind you on {on}"
    assert lists.reminder_line(replace(due, due_at=None)) == (
        "`sdxl` · already reminded; I'll remind you again after the next reload"
    )
