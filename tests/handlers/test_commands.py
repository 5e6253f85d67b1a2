"""The slash command is answered in its ack, privately."""

import json

import pytest

from bot.errors import CommitUncertain, DatabaseUnavailable, Refusal, Refused, SlackPermanentError
from bot.ui import messages
from tests.handlers.conftest import ADA, EVE, MODELS, Bot, command


async def text_of(bot: Bot, text: str = "sdxl", **fields: object) -> str:
    """What the person is told, and nobody else."""
    response = await bot.send(command(text, **fields))
    answer = json.loads(response.body)
    assert (response.status, answer["response_type"]) == (200, "ephemeral")
    told: str = answer["text"]
    return told


async def test_a_reload_is_recorded_before_it_is_acknowledged(bot: Bot) -> None:
    """With all that is needed to carry it out, and the rule that allowed it."""
    text = await text_of(bot)

    (ask,) = bot.requests.asked
    assert text.startswith("Reloading `sdxl`. I'll ping you here")
    assert (ask.invocation_id, ask.user_id, ask.channel_id, ask.model_id) == ("1.2.abc", ADA, MODELS, "sdxl")
    assert (ask.response_url, ask.team_id, ask.rule) == (
        "https://hooks.slack.com/commands/T0HOME/1/abc",
        "T0HOME",
        ADA,
    )
    assert bot.outcomes == []  # storage has it in the audit


@pytest.mark.parametrize(
    ("failing", "text", "outcome"),
    [
        (DatabaseUnavailable("away"), "My database isn't responding, so I didn't start anything.", "not_recorded"),
        (CommitUncertain("away"), "I couldn't confirm that I recorded this.", "uncertain"),
        (Refused(Refusal.TOO_MANY_IN_FLIGHT, limit=2), "2 models are already reloading", "too_many_in_flight"),
        (ArithmeticError("of our own"), "Something broke on my side.", "internal_error"),
    ],
)
async def test_what_could_not_be_recorded_is_answered_with_what_is_certain(
    bot: Bot, failing: Exception, text: str, outcome: str
) -> None:
    """And audited."""
    bot.requests.failing = failing

    assert text in await text_of(bot)
    assert bot.outcomes == [outcome]


@pytest.mark.parametrize("failing", [DatabaseUnavailable("away"), CommitUncertain("away")])
@pytest.mark.parametrize("word", ["status", "history"])
async def test_a_list_that_cannot_be_read_started_nothing(bot: Bot, word: str, failing: Exception) -> None:
    """So nothing is said of that."""
    bot.requests.failing = failing
    text = await text_of(bot, word)

    assert ("My database isn't responding." in text) == (type(failing) is DatabaseUnavailable)
    assert "start anything" not in text


async def test_help_is_for_everybody(bot: Bot) -> None:
    """Wherever they are."""
    assert await text_of(bot, " HELP ", user_id=EVE, team_id="T0OTHER") == messages.help_text()
    assert bot.outcomes == ["help"]


async def test_a_slip_is_explained_to_people_who_are_allowed(bot: Bot) -> None:
    """Others are told that they are not."""
    assert "`two words`" in await text_of(bot, "two words")
    assert "You don't have permission" in await text_of(bot, "two words", user_id=EVE)
    assert bot.outcomes == ["not_a_command", "not_allowed"]


async def test_the_bare_command_opens_the_picker(bot: Bot) -> None:
    """With an empty ack, and the channel filled in."""
    response = await bot.send(command(""))

    assert (response.status, response.body) == (200, "")
    ((method, fields),) = bot.slack.calls
    assert (method, fields["trigger_id"]) == ("views.open", "1.2.abc")
    assert MODELS in str(fields["view"])


async def test_where_the_picker_does_not_open_there_is_help(bot: Bot) -> None:
    """By the command's response_url."""
    bot.slack.failing = SlackPermanentError("expired_trigger_id")
    await bot.send(command(""))

    assert [method for method, _ in bot.slack.calls] == ["views.open", "response_url"]
    assert bot.slack.calls[-1][1]["text"] == messages.help_text()


async def test_the_bare_command_of_somebody_who_is_not_allowed(bot: Bot) -> None:
    """They read what the command does, and why it does not for them."""
    text = await text_of(bot, "", user_id=EVE)

    assert text.startswith(messages.help_text())
    assert f"add your Slack ID, `{EVE}`" in text
    assert bot.slack.calls == []
