"""What admins and people read about access, where no scenario gets: tests/scenarios/test_access.py shows the rest."""

from dataclasses import replace

import pytest

from bot.core.grants import AccessRequest, RequestState
from bot.ui import access
from tests.samples import ADA, BEN, MODELS, NOON

EVE = "U0EVE"
OPEN = AccessRequest("r4x7", EVE, MODELS, "sdxl", RequestState.OPEN, NOON + 100)


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
