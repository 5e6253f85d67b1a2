"""Every message and view of the bot, at its longest, as TypeScript of the types of npm's @slack/types.

Those know which fields each block has and must have. How long a text may be they do not know: the tests in tests/ui do.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from slack_sdk.models.views import View

from bot.core.command import MAX_ID
from bot.core.grants import AccessRequest, Grant, RequestState
from bot.core.models import DAY, HomeData, ListedReload, Place, Reminder, State, Viewer
from bot.errors import Failure
from bot.ui import access, lists, messages, views
from bot.ui.buttons import Action, Button
from bot.ui.messages import Message
from tests.samples import ACCEPTED, MODELS, NOON, subscriber
from tests.screenshots.needs import MODULES

CHECK_SECONDS = 120

_LONGEST = "m" * MAX_ID
_NEAR = [f"{letter}{_LONGEST[1:]}" for letter in "abc"]
_FLYING = replace(ACCEPTED, model_id=_LONGEST)
_OVER = replace(_FLYING, state=State.DONE, ended_at=NOON + 121)
_FAILED = replace(_OVER, failure=Failure.REFUSED, said="<no> & " * 60, similar=_NEAR, outcome_unknown=True)
_VIEWER = Viewer("U0EVE", Place(MODELS))
_LATER = NOON + 30 * DAY
_CROWD = [subscriber(n, f"U{n:010}") for n in range(messages.MENTIONS_LIMIT)]
_REMINDERS = [
    Reminder(_LONGEST, ACCEPTED.id, MODELS, NOON, _LATER),
    Reminder(_LONGEST, ACCEPTED.id, MODELS, NOON, None),
]

_ASKED = AccessRequest("r4x7", "U0EVE", MODELS, _LONGEST, RequestState.ALLOWED, NOON, "U0BOSS", NOON)
_GRANTS = [Grant(f"U{n:010}", "U0BOSS", NOON) for n in range(access.LISTED)]
_ACCESS = access.AccessList(["U0BOSS"], ["U0ADA"], {"S0CREW": 3}, True, _GRANTS, 100, {"U0000000001": "S0CREW"})


def _said() -> Iterator[tuple[str, Message]]:
    asker, crowd = _CROWD[:1], _CROWD
    flying, over = (
        [ListedReload(_FLYING, crowd, _LATER)] * 20,
        [ListedReload(each, crowd, _LATER) for each in (_OVER, _FAILED)] * 5,
    )
    yield "help", Message(messages.help_text("/reload-model"))
    yield "reloading", Message(messages.reloading(_FLYING, 120))
    yield "joined", Message(messages.joined(_FLYING, crowd[0], _VIEWER, 120))
    yield "will_remind", Message(messages.will_remind(_REMINDERS[0]))
    yield "not_reminding", Message(messages.not_reminding(_LONGEST))
    yield "status", messages.status(_FLYING, asker, asker[0], NOON + 60)
    yield "status_joined", messages.status(_FLYING, crowd[1:], crowd[0], NOON + 60)
    yield "trouble", messages.trouble(_FLYING, asker, NOON + 600)
    yield "closed", messages.closed(_OVER, asker)
    yield "closed_again", messages.closed(_OVER, asker, again=True)
    yield "closed_failed", messages.closed(_FAILED, asker)
    yield "follow_up", messages.follow_up([_OVER], crowd, late=False)
    yield "follow_up_late", messages.follow_up([_OVER], asker, late=True)
    yield "failure", messages.failure(_FAILED, crowd)
    yield "uncertain", messages.uncertain(_OVER, crowd)
    yield "reminder", messages.reminder(_OVER, MODELS, _LATER)
    yield "running", lists.running(flying, 100, 120, _VIEWER)
    yield "running_none", lists.running([], 0, 120, _VIEWER)
    yield "history", lists.history(over, 120, _VIEWER)
    yield "history_none", lists.history([], 120, _VIEWER)
    yield "request", access.request(_ASKED, is_open=True)
    yield "request_decided", access.request(_ASKED, is_open=False)
    yield "answer", access.answer(_ASKED)
    yield "answer_expired", access.answer(replace(_ASKED, state=RequestState.OPEN))
    yield "access_message", access.access_message(_ACCESS)


def _shown() -> Iterator[tuple[str, View]]:
    flying = ListedReload(_FLYING, _CROWD, _LATER)
    over = [ListedReload(each, _CROWD, _LATER) for each in (_OVER, _FAILED)]
    full = HomeData([flying] * 10, 100, over * 5, _REMINDERS * 5, _LATER)
    yield "picker", views.picker()
    yield "picker_filled", views.picker(MODELS, _LONGEST)
    yield "notice", views.notice(messages.reloading(_FLYING, 120))
    yield "home", views.home(full, 120, "U0EVE")
    yield "home_of_admin", views.home(full, 120, "U0EVE", access.access_lines(_ACCESS))
    yield "home_empty", views.home(HomeData([], 0, [], [], _LATER), 120, "U0EVE")
    yield "home_notice", views.home_notice("You don't have permission to reload models here.")
    yield "refused", views.notice("You don't have permission.", [Button("Ask for access", Action.ASK_ACCESS)])
    yield "people_modal", access.people_modal(Action.ADD_PEOPLE)
    yield "people_modal_revoke", access.people_modal(Action.REVOKE_PEOPLE)


def source() -> tuple[str, int]:
    """The TypeScript, and of how many messages and views it is."""
    types = {"modal": "ModalView", "home": "HomeView"}
    lines = [
        *(f"export const {name}: KnownBlock[] = {json.dumps(said.blocks)};" for name, said in _said()),
        *(f"export const {name}: {types[str(view.type)]} = {json.dumps(view.to_dict())};" for name, view in _shown()),
    ]
    head = 'import type { HomeView, KnownBlock, ModalView } from "@slack/types";'
    return "\n".join([head, *lines, ""]), len(lines)


def check(tsc: Path) -> int:
    """Hold them against the types, and return how many there are. Raises AssertionError with what does not fit."""
    text, count = source()
    written = MODULES / "every-message.ts"  # there its import is found
    written.write_text(text, encoding="utf-8")
    options = ("--noEmit", "--strict", "--module", "nodenext", "--types", "", "--pretty", "false")
    compiled = subprocess.run(  # noqa: S603 - words of ours
        [tsc, *options, written], capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
    )
    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
    return count
