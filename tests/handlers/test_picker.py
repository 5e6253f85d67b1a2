"""The picker opens, suggests, and is answered in the modal itself."""

import json
from collections.abc import Mapping

import pytest

from bot.errors import CommitUncertain, DatabaseUnavailable, Malformed
from bot.ui import views
from tests.handlers.conftest import ADA, EVE, MODELS, Bot, interaction

STRANGER = {"id": EVE, "team_id": "T0HOME"}


def submission(typed: str = "", picked: str = "", where: str = MODELS, **fields: object) -> Mapping[str, object]:
    """The picker, submitted by Ada."""
    values = {
        "model": {"model": {"selected_option": {"value": picked}}},
        "typed": {"typed": {"value": typed}},
        "where": {"where": {"selected_conversation": where}},
    }
    view = {"id": "V0VIEW", "type": "modal", "callback_id": views.PICKER, "state": {"values": values}}
    return interaction("view_submission", view=view, **fields)


async def answered(bot: Bot, payload: Mapping[str, object]) -> dict[str, object]:
    """What the ack carries."""
    response = await bot.send(payload)
    assert response.status == 200
    answer: dict[str, object] = json.loads(response.body)
    return answer


async def test_the_modal_says_what_the_ack_of_a_command_says(bot: Bot) -> None:
    """And names the channel, which is not where this is read."""
    answer = await answered(bot, submission(picked="sdxl"))

    assert answer["response_action"] == "update"
    assert "Reloading `sdxl`" in str(answer["view"])
    assert f"I'll ping you in <#{MODELS}> around" in str(answer["view"])


async def test_a_model_that_was_typed_wins_over_one_picked(bot: Bot) -> None:
    """The submission stands for the invocation: a view is submitted once."""
    urls = [{"channel_id": "D0ADA", "response_url": "https://hooks.slack.com/app/T0HOME/1/abc"}]
    answer = await answered(bot, submission(typed=" flux ", picked="sdxl", where="D0ADA", response_urls=urls))

    (ask,) = bot.requests.asked
    assert (ask.model_id, ask.invocation_id, ask.channel_id) == ("flux", "V0VIEW", "D0ADA")
    assert ask.response_url == "https://hooks.slack.com/app/T0HOME/1/abc"
    assert "I'll ping you there around" in str(answer["view"])


@pytest.mark.parametrize(("typed", "field"), [("", views.MODEL), ("two words", views.TYPED)])
async def test_what_is_no_id_is_marked_in_its_field(bot: Bot, typed: str, field: str) -> None:
    """The modal stays open, with what else is in it."""
    answer = await answered(bot, submission(typed=typed))

    assert answer == {
        "response_action": "errors",
        "errors": {field: views.NOT_AN_ID if typed else views.NOTHING_CHOSEN},
    }
    assert bot.outcomes == []


@pytest.mark.parametrize(
    ("failing", "text", "outcome"),
    [
        (DatabaseUnavailable("away"), "so I didn't start anything", "not_recorded"),
        (CommitUncertain("away"), "I couldn't confirm that I recorded this", "uncertain"),
        (ArithmeticError("of our own"), "Something broke on my side", "internal_error"),
    ],
)
async def test_a_submission_that_could_not_be_recorded_says_what_is_certain(
    bot: Bot, failing: Exception, text: str, outcome: str
) -> None:
    """In the modal."""
    bot.requests.failing = failing
    answer = await answered(bot, submission(typed="sdxl"))

    assert answer["response_action"] == "update"
    assert text in str(answer["view"])
    assert bot.outcomes == [outcome]


async def test_a_person_who_is_not_allowed_gets_nothing_out_of_an_open_modal(bot: Bot) -> None:
    """Neither suggestions nor a reload."""
    refused = await answered(bot, submission(typed="sdxl", user=STRANGER))
    suggested = await answered(bot, interaction("block_suggestion", action_id="model", value="s", user=STRANGER))

    assert "You don't have permission" in str(refused["view"])
    assert suggested == {"options": []}
    assert bot.requests.asked == []
    assert bot.outcomes == ["not_allowed"]


async def test_what_was_typed_is_suggested_first(bot: Bot) -> None:
    """If it could be an id; from the first character on."""
    typed = await answered(bot, interaction("block_suggestion", action_id="model", block_id="model", value="sd"))
    nothing = await answered(bot, interaction("block_suggestion", action_id="model", block_id="model", value=""))

    assert typed["options"] == [{"text": {"type": "plain_text", "text": "sd", "emoji": False}, "value": "sd"}]
    assert nothing == {"options": []}


async def test_the_shortcut_opens_the_picker_or_says_why_not(bot: Bot) -> None:
    """In a modal either way, after an empty ack."""
    for user in ({"id": ADA, "team_id": "T0HOME"}, STRANGER):
        response = await bot.send(interaction("shortcut", callback_id=views.PICKER, user=user))
        assert (response.status, response.body) == (200, "")

    (_, opened), (_, refused) = bot.slack.calls
    assert views.PICKER in str(opened["view"])
    assert "You don't have permission" in str(refused["view"])
    assert bot.outcomes == ["picker", "not_allowed"]


@pytest.mark.parametrize(
    "wrong",
    [
        submission(where="<!here>"),
        submission(typed="x" * 8001),
        {**submission(), "view": None},
        {**submission(), "view": {"id": "V0VIEW", "callback_id": views.PICKER, "state": "x"}},
        interaction("block_suggestion", action_id="model", value=7),
        interaction("shortcut", callback_id=views.PICKER, trigger_id=None),
    ],
    ids=lambda payload: str(payload["type"]),
)
async def test_what_has_not_the_shape_of_these_is_malformed(bot: Bot, wrong: Mapping[str, object]) -> None:
    """And reaches nobody."""
    with pytest.raises(Malformed):
        await bot.send(wrong)
    assert bot.requests.asked == []


async def test_suggestions_that_fail_are_none(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed can be typed in the other field; the log has the error."""

    async def broken(*_: object) -> list[str]:
        raise ArithmeticError("of our own")

    monkeypatch.setattr("bot.modelslab.catalog.Catalog.matching", broken)

    assert await answered(bot, interaction("block_suggestion", action_id="model", value="s")) == {"options": []}
    assert bot.outcomes == []
