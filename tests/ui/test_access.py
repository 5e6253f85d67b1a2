"""What admins and people read about access, where no scenario gets: tests/scenarios/test_access.py shows the rest."""

from dataclasses import replace

import pytest

from bot.core.grants import AccessRequest, RequestState
from bot.core.models import Place
from bot.errors import Refusal, Refused
from bot.ui import access
from bot.ui.buttons import Action
from tests.samples import ADA, BEN, MODELS, NOON

EVE = "U0EVE"
OPEN = AccessRequest("r4x7", EVE, MODELS, "sdxl", RequestState.OPEN, NOON + 100)
ALLOWED = replace(OPEN, state=RequestState.ALLOWED, decided_by=BEN, decided_at=NOON)


@pytest.mark.parametrize(
    ("channel", "model", "what"),
    [
        (MODELS, "sdxl", "to reload `sdxl` in <#C0MODELS>"),
        ("D0ADA", "sdxl", "to reload `sdxl` in a direct message"),
        ("", "sdxl", "to reload `sdxl`"),
        (MODELS, "", "to reload models in <#C0MODELS>"),
        ("", "", "to reload models"),
    ],
)
def test_a_request_says_who_wants_what_and_where(channel: str, model: str, what: str) -> None:
    """As far as that is known."""
    message = access.request(replace(OPEN, channel_id=channel, model_id=model), is_open=True)

    assert message.text == f"<@U0EVE> asks for access {what}."
    assert [(button.label, button.of) for button in message.buttons] == [("Allow", "r4x7"), ("Deny", "r4x7")]


@pytest.mark.parametrize(
    ("asked", "label", "action"),
    [
        (ALLOWED, "Reload sdxl", Action.AGAIN),
        (replace(ALLOWED, channel_id=""), "Reload sdxl", Action.PICK),
        (replace(ALLOWED, model_id=""), "Reload a model", Action.PICK),
        (OPEN, "Ask again", Action.ASK_ACCESS),
    ],
)
def test_an_answer_offers_what_can_be_done_next(asked: AccessRequest, label: str, action: Action) -> None:
    """The reload that was wanted, if all of it is known."""
    (button,) = access.answer(asked).buttons

    assert (button.label, button.action, button.of) == (label, action, asked.model_id)
    assert button.place.channel_id == asked.channel_id


def test_only_a_refusal_for_want_of_access_offers_to_ask() -> None:
    """And only where it can be asked for, once."""
    offered = Refused(Refusal.NOT_ALLOWED, user_id=EVE, asked=None)
    others = [
        Refused(Refusal.NOT_ALLOWED, user_id=EVE),
        Refused(Refusal.NOT_ALLOWED, user_id=EVE, asked=RequestState.OPEN),
        Refused(Refusal.OTHER_WORKSPACE),
    ]

    assert [button.label for button in access.ask_buttons(offered, Place(MODELS), "sdxl")] == ["Ask for access"]
    assert [access.ask_buttons(refused, Place(MODELS), "sdxl") for refused in others] == [[], [], []]


def test_the_list_leaves_out_what_there_is_not() -> None:
    """Without ALLOWED_USERS there are only admins; a group that can't be read is named."""
    nobody = access.AccessList(admins=[BEN], people=[], groups={}, everyone=False, grants=[], count=0, rules={})
    everyone = replace(nobody, everyone=True, people=[ADA], groups={"S0CREW": None, "S0TEAM": 2})

    assert [line.text for line in access.access_lines(nobody)] == [
        "• Admins (`ADMIN_USERS`): <@U0BEN>",
        "People named in the settings can only be removed there.",
    ]
    assert access.access_lines(everyone)[1].text == (
        "• By the settings (`ALLOWED_USERS`): everyone in this workspace, <@U0ADA>, "
        "user group `S0CREW` (Slack hasn't said who is in it), user group `S0TEAM` (2 members)"
    )


def test_an_admin_who_gave_up_the_grant_is_still_an_admin() -> None:
    """The answer to *Revoke* says by what somebody can still reload models."""
    assert access.revoked([EVE, BEN], {BEN: "ADMIN_USERS"}) == (
        "<@U0EVE> can't reload models any more. <@U0BEN> can still reload models, by `ADMIN_USERS`."
    )
