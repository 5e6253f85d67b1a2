"""A press is acknowledged without words; its answer follows, privately."""

from collections.abc import Mapping

import pytest

from bot.errors import CommitUncertain, DatabaseUnavailable, Malformed
from bot.ui.buttons import Action
from tests.handlers.conftest import ADA, EVE, MODELS, URL, Bot, press


async def answer(bot: Bot, payload: Mapping[str, object]) -> str:
    """What follows the ack of a press."""
    response = await bot.send(payload)
    assert (response.status, response.body) == (200, "")
    ((method, fields),) = bot.slack.calls
    assert (method, fields["url"], fields["response_type"]) == ("response_url", URL, "ephemeral")
    return str(fields["text"])


@pytest.mark.parametrize(
    ("action_id", "of", "text"),
    [
        ("again:0", "sdxl", "Reloading `sdxl`."),
        ("join:2", "r4x8", "You're already on the list for `sdxl`"),
        ("remind:0", "r4x7", "I'll remind you about `sdxl`"),
        ("stop_reminding:1", "sdxl", "OK, no more reminders for `sdxl`."),
    ],
)
async def test_a_press_does_what_its_button_says(bot: Bot, action_id: str, of: str, text: str) -> None:
    """And says so below the message."""
    assert text in await answer(bot, press(action_id, f"{MODELS}|{of}"))


@pytest.mark.parametrize("action_id", ["again:0", "join:0"])
async def test_a_double_click_is_one_request(bot: Bot, action_id: str) -> None:
    """The button of the message is what storage knows it by."""
    await bot.send(press(action_id, f"{MODELS}|sdxl"))

    (ask,) = bot.requests.asked
    assert (ask.invocation_id, ask.button) == (f"{MODELS}/1.2/{action_id}#1.2.abc", f"{MODELS}/1.2/{action_id}")


@pytest.mark.parametrize("action_id", ["again:0", "join:0", "remind:0"])
async def test_a_press_that_comes_too_late_says_so(bot: Bot, action_id: str) -> None:
    """Messages stay on screens."""
    bot.requests.over = True

    assert "That reload has already finished." in await answer(bot, press(action_id, f"{MODELS}|sdxl"))
    assert bot.outcomes == ["over"]


@pytest.mark.parametrize("action", [Action.JOIN, Action.AGAIN, Action.REMIND, Action.STOP_REMINDING])
@pytest.mark.parametrize(
    ("failing", "text"),
    [
        (DatabaseUnavailable("away"), "so I didn't start anything"),
        (CommitUncertain("away"), "I couldn't confirm that I recorded this"),
        (ArithmeticError("of our own"), "Something broke on my side"),
    ],
)
async def test_a_press_that_could_not_be_recorded_says_what_is_certain(
    bot: Bot, action: Action, failing: Exception, text: str
) -> None:
    """Like a command."""
    bot.requests.failing = failing

    assert text in await answer(bot, press(action, f"{MODELS}|sdxl"))


async def test_a_person_who_is_not_allowed_is_told_privately(bot: Bot) -> None:
    """People of other organisations see the buttons of a shared channel, too."""
    text = await answer(bot, press("again:0", f"{MODELS}|sdxl", user={"id": EVE, "team_id": "T0HOME"}))

    assert "You don't have permission" in text
    assert bot.requests.asked == []


@pytest.mark.parametrize(("action_id", "value"), [("again:0", "sdxl"), ("dance", "C0MODELS|sdxl"), ("join:0", "|")])
async def test_a_button_of_an_earlier_version_is_acknowledged_and_does_nothing(
    bot: Bot, action_id: str, value: str
) -> None:
    """Messages outlive versions."""
    response = await bot.send(press(action_id, value))

    assert (response.status, response.body) == (200, "")
    assert (bot.slack.calls, bot.requests.asked, bot.outcomes) == ([], [], [])


async def test_a_press_in_the_home_tab_shows_the_tab_anew(bot: Bot) -> None:
    """There is no message to answer below; somebody who is not allowed sees why."""
    await bot.send(press("stop_reminding:0", "|sdxl", below_a_message=False))
    await bot.send(press("again:0", f"{MODELS}|x", below_a_message=False, user={"id": EVE, "team_id": "T0HOME"}))

    assert [(method, fields["user_id"]) for method, fields in bot.slack.calls] == [
        ("views.publish", ADA),
        ("views.publish", EVE),
    ]
    assert "You don't have permission" in str(bot.slack.calls[-1])


async def test_the_picker_opens_from_a_button(bot: Bot) -> None:
    """With the model filled in; below a message there is nothing else to say."""
    await bot.send(press("pick:0", "|sdxl"))

    ((method, fields),) = bot.slack.calls
    assert method == "views.open"
    assert "'value': 'sdxl'" in str(fields["view"])
    assert bot.outcomes == ["picker"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"actions": []},
        {"actions": ["x"]},
        {"actions": [{"action_id": "again:0", "value": 7}]},
        {"trigger_id": None},
        {"user": None},
        {"user": {"id": "<!here>"}},
    ],
    ids=str,
)
async def test_a_press_without_the_shape_of_one_is_malformed(bot: Bot, wrong: Mapping[str, object]) -> None:
    """Whether it is Bolt that cannot read it, or a reader of ours."""
    with pytest.raises(Malformed):
        await bot.send({**press("again:0", f"{MODELS}|sdxl"), **wrong})
    assert bot.outcomes == []
