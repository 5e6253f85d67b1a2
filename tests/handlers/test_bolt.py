"""What Bolt has no listener for is acknowledged, or malformed; nothing else is raised."""

import json
from collections.abc import Mapping

import pytest

from bot.errors import Malformed
from tests.handlers.conftest import ADA, EVE, Bot, command, interaction

HOME: Mapping[str, object] = {
    "type": "event_callback",
    "team_id": "T0HOME",
    "event": {"type": "app_home_opened", "user": ADA, "tab": "home"},
}


@pytest.mark.parametrize(
    "payload",
    [
        interaction("view_closed", view={"id": "V0", "callback_id": "reload_model"}),
        interaction("view_submission", view={"id": "V0", "type": "modal", "callback_id": "other"}),
        interaction("shortcut", callback_id="other"),
        interaction("message_action", callback_id="other"),
        interaction("block_suggestion", action_id="other", value=""),
        {**HOME, "event": {"type": "reaction_added"}},
        {**HOME, "event": {"type": "app_home_opened", "user": ADA, "tab": "messages"}},
    ],
    ids=lambda payload: str(payload["type"]),
)
async def test_what_is_of_no_use_is_acknowledged(bot: Bot, payload: Mapping[str, object]) -> None:
    """With an empty 200, and nothing else happens."""
    response = await bot.send(payload)

    assert (response.status, response.body) == (200, "")
    assert (bot.slack.calls, bot.outcomes) == ([], [])


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"type": "unheard_of"},
        {**command(), "command": 7},
        command(user_id="<!here>"),
        {**command(), "text": None},
        {**HOME, "event": None},
        {**HOME, "event": "app_home_opened"},
        {**HOME, "event": {"type": "app_home_opened"}},
        {**HOME, "team_id": None},
        interaction("view_closed", user=None),
        interaction("view_closed", view={"id": "V0", "callback_id": "x"}, enterprise=7),
        interaction("view_closed", authorizations={"0": 1}),
        interaction("view_closed", response_urls=7),
    ],
    ids=str,
)
async def test_what_slack_does_not_send_is_malformed(bot: Bot, payload: Mapping[str, object]) -> None:
    """Whether a reader of ours says so, or Bolt trips over it."""
    with pytest.raises(Malformed):
        await bot.send(payload)
    assert (bot.slack.calls, bot.outcomes) == ([], [])


async def test_another_command_of_the_app_is_answered(bot: Bot) -> None:
    """Two environments may share the app's page by mistake: an empty ack would tell nobody."""
    response = await bot.send(command(command="/other"))

    assert json.loads(response.body)["text"] == (
        "I don't answer to `/other`. Use `/reload-model`, or ask the operator to check `SLASH_COMMAND`."
    )
    assert (bot.slack.calls, bot.outcomes) == ([], [])


async def test_the_home_tab_is_published_when_it_is_opened(bot: Bot) -> None:
    """To somebody who is not allowed, too: it says why."""
    for user in (ADA, EVE):
        await bot.send({**HOME, "event": {"type": "app_home_opened", "user": user}})

    assert [(method, fields["user_id"]) for method, fields in bot.slack.calls] == [
        ("views.publish", ADA),
        ("views.publish", EVE),
    ]
    assert "Reload a model" in json.dumps(bot.slack.calls[0][1])
    assert "You don't have permission" in json.dumps(bot.slack.calls[1][1])


async def test_an_error_of_our_own_in_an_event_is_acknowledged(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slack would send it again and again; the log has it."""

    def broken(*_: object) -> None:
        raise ArithmeticError("of our own")

    monkeypatch.setattr("bot.handlers.home_tab.HomeTabs.opened", broken)
    response = await bot.send(HOME)

    assert (response.status, response.body) == (200, "")
    assert bot.outcomes == ["internal_error"]
