"""Who did what is read field by field from what Slack sends. Anything unexpected raises.

What becomes of payloads that are wrong otherwise is shown in tests/scenarios/test_http_door.py.
"""

from collections.abc import Mapping

import pytest

from bot.core.models import Person
from bot.errors import Malformed
from bot.slack import payloads
from bot.slack.payloads import Fields

URL = "https://hooks.slack.com/actions/T0HOME/1/abc"

COMMAND: Mapping[str, str] = {"team_id": "T0HOME", "channel_id": "C0MODELS", "user_id": "U0ADA"}
PRESS: Fields = {
    "user": {"id": "U0ADA", "team_id": "T0HOME"},
    "team": {"id": "T0OTHER"},
    "enterprise": {"id": "E0OTHER"},
    "channel": {"id": "C0MODELS"},
}
OPENED: Fields = {"type": "event_callback", "team_id": "T0HOME", "event": {"type": "app_home_opened", "user": "U0ADA"}}


def test_the_team_of_an_interaction_is_its_authors_own() -> None:
    """In a shared channel, the payload's team and enterprise are those of somebody else."""
    body = {**PRESS, "user": {"id": "U0ADA", "team_id": None}}

    assert payloads.interaction_author(body, "C0OPS") == Person("U0ADA", "", "C0OPS")


@pytest.mark.parametrize(
    ("fields", "event", "team", "enterprise"),
    [
        ({}, {}, "T0HOME", ""),
        ({"enterprise_id": "E0ORG"}, {}, "T0HOME", "E0ORG"),
        ({"enterprise_id": "E0ORG"}, {"user_team": "T0OTHER"}, "T0OTHER", ""),
        ({"enterprise_id": "E0ORG"}, {"source_team": "E0OTHER"}, "E0OTHER", ""),
        ({}, {"team": "T0OTHER"}, "T0OTHER", ""),
        ({"is_ext_shared_channel": True, "enterprise_id": "E0ORG"}, {}, "", ""),
    ],
)
def test_the_author_of_an_event_is_of_their_own_team(fields: Fields, event: Fields, team: str, enterprise: str) -> None:
    """Where the channel is shared, the payload's team is not theirs."""
    body = {**OPENED, **fields, "event": {**OPENED["event"], **event}}

    assert payloads.event_author(body) == Person("U0ADA", team, "", enterprise)


@pytest.mark.parametrize("wrong", [None, 7, "", "ada", "<!here>", "U0ADA\n", "Ü0ADA", "U" * 65, ["U0ADA"]])
def test_an_invalid_id_is_malformed(wrong: object) -> None:
    """For any sender, in any field."""
    for name in COMMAND:
        with pytest.raises(Malformed):
            payloads.command_author({**COMMAND, name: wrong})
    for body in ({**OPENED, "event": {"user": wrong}}, {**OPENED, "team_id": wrong}):
        with pytest.raises(Malformed):
            payloads.event_author(body)
    if wrong:  # an empty thread is none
        with pytest.raises(Malformed):
            payloads.message_author({**OPENED, "event": {"user": "U0ADA", "channel": "C0MODELS", "thread_ts": wrong}})
    with pytest.raises(Malformed):
        payloads.interaction_author({**PRESS, "user": {"id": wrong, "team_id": "T0HOME"}})


def test_a_modal_has_a_response_url_for_the_channel_chosen_in_it() -> None:
    """Or none: not every client gives one."""
    given_urls = [{"channel_id": "C0X", "response_url": ""}, {"channel_id": "C0OPS", "response_url": URL}]

    assert payloads.response_url_for({"response_urls": given_urls}, "C0OPS") == URL
    assert payloads.response_url_for({"response_urls": None}, "C0OPS") == ""
