"""Every message and view of the bot, by the function that makes it, with the longest IDs there can be.

tests/ui/test_limits.py holds them to Slack's limits, and make screenshots to the types of npm's @slack/types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from slack_sdk.models.views import View

from bot.core.access import Allowlist
from bot.core.command import MAX_ID
from bot.core.grants import AccessRequest, Grant, RequestState
from bot.core.models import DAY, HomeData, ListedReload, Person, Place, Reminder, Requested, State, Subscriber
from bot.errors import Failure
from bot.ui import grants, lists, messages, views
from bot.ui.buttons import Action, Button
from bot.ui.messages import MENTIONS_LIMIT, Message
from tests.samples import ACCEPTED, MODELS, NOON, subscriber

LONGEST = "m" * MAX_ID
CROWD = [subscriber(number, f"U{number:010}") for number in range(MENTIONS_LIMIT)]

_LATER = NOON + 30 * DAY
_VIEWER = Person("U0EVE", "T0HOME", MODELS)
_REMINDERS = [Reminder(LONGEST, due_at) for due_at in (_LATER, None)]
_IDS = [f"U{number:024}" for number in range(200)]
_GRANTS = [Grant(user_id, _IDS[-1], NOON) for user_id in _IDS[: grants.LISTED]]
_GROUPS = [f"S{number:024}" for number in range(200)]
_ALLOWLIST = Allowlist(["*", *_IDS, *_GROUPS], (), dict.fromkeys(_GROUPS, _IDS * 50).get, _IDS)
_ACCESS = grants.access_lines(_ALLOWLIST, _GRANTS, 200)


def every_message(
    model_id: str = LONGEST, said: str = "<no> & " * 60, people: Sequence[Subscriber] = CROWD
) -> Mapping[str, Message]:
    """The messages, and the answers that are only text."""
    reload = replace(ACCEPTED, model_id=model_id)
    ended = replace(reload, state=State.DONE, ended_at=NOON + 121)
    similar = [letter * MAX_ID for letter in "abc"]
    failed = replace(ended, failure=Failure.NO_ANSWER, said=said, similar=similar, outcome_unknown=True)
    running = [ListedReload(reload, people, _LATER)] * 20
    recent = [ListedReload(each, people, _LATER) for each in (ended, failed)] * 5
    asked = AccessRequest("r4x7", "U0EVE", MODELS, model_id, RequestState.ALLOWED, NOON, "U0BOSS", NOON)
    return {
        "help": Message(messages.help_text("/reload-model")),
        **{
            name: Message(messages.acknowledgement(Requested(reload, people[0], NOON, joined, again), _VIEWER, 120))
            for name, joined, again in (
                ("reloading", False, False),
                ("joined", True, False),
                ("already_subscribed", True, True),
            )
        },
        "as_direct_message": messages.as_direct_message(Message(messages.help_text("/reload-model")), MODELS),
        "will_remind": Message(messages.will_remind(replace(_REMINDERS[0], model_id=model_id))),
        "not_reminding": Message(messages.not_reminding(model_id)),
        "status": messages.status(reload, people, people[0], NOON + 60),
        "status_joined": messages.status(reload, people, people[-1], NOON + 60),
        "trouble": messages.trouble(reload, people, NOON + 600, NOON),
        "closed": messages.closed(ended, people),
        "closed_again": messages.closed(ended, people, again=True),
        "closed_failed": messages.closed(failed, people),
        "follow_up": messages.follow_up([ended], people),
        "follow_up_late": messages.follow_up([ended], people, late=DAY),
        "failure": messages.failure(failed, people),
        "uncertain": messages.uncertain(ended, people),
        "reminder": messages.reminder(ended, Place(MODELS), _LATER),
        "running": lists.running(running, 100, _VIEWER),
        "running_none": lists.running([], 0, _VIEWER),
        "history": lists.history(recent, 120, _VIEWER),
        "history_none": lists.history([], 120, _VIEWER),
        "request": grants.request(asked, is_open=True),
        "request_decided": grants.request(asked, is_open=False),
        "answer": grants.answer(asked, _ALLOWLIST, can_reload=True),
        "answer_expired": grants.answer(replace(asked, state=RequestState.OPEN), _ALLOWLIST, can_reload=False),
        "decided": grants.decided(asked, None),
        "revoked": grants.revoked(_IDS[:20], {}, []),
        "added": grants.added(_IDS[:20], _IDS[:20]),
        "access_message": grants.access_message(_ACCESS),
    }


def every_view() -> Mapping[str, View]:
    """The modals and the Home tab."""
    reload = replace(ACCEPTED, model_id=LONGEST)
    failed = replace(reload, state=State.DONE, failure=Failure.REFUSED, similar=[LONGEST] * 3)
    running, recent = ([ListedReload(each, CROWD, _LATER)] * 10 for each in (reload, failed))
    full = HomeData(running, 100, recent, _REMINDERS * 5, 100)
    return {
        "picker": views.picker(),
        "picker_filled": views.picker(MODELS, LONGEST),
        "notice": views.notice(Message("Reloading `sdxl`. " * 300)),
        "notice_refused": views.notice(
            Message("You don't have permission.", buttons=[Button("Ask for access", Action.ASK_ACCESS)])
        ),
        "home": views.home(full, 120, _VIEWER),
        "home_of_admin": views.home(full, 120, _VIEWER, _ACCESS),
        "home_empty": views.home(HomeData([], 0, [], [], 0), 120, _VIEWER),
        "home_notice": views.home_notice(Message("You don't have permission to reload models.")),
        "people_modal": grants.people_modal(Action.ADD_PEOPLE),
        "people_modal_revoke": grants.people_modal(Action.REVOKE_PEOPLE),
    }
