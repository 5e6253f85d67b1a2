"""The picker: a model is picked, or typed, and announced where somebody says, without remembering anything."""

import asyncio
from collections.abc import Mapping

import pytest

from bot.core.command import MAX_ID
from bot.sandbox.modelslab import error
from bot.sandbox.surfaces import Modal
from bot.ui import messages, views
from tests.answers import Answer, Hang
from tests.scenarios.house import ADA, EVE, MODELS, OPS, READY, House, mentioned

one_mode = pytest.mark.parametrize("mode", ["socket"])


async def opened(bot: House, user: str = ADA, channel: str = MODELS) -> Modal:
    """The picker, after a command without text, which is answered with nothing else."""
    ack = await bot.slack.command("", user=user, channel=channel)
    assert (ack.status, ack.raw in (b"", b"null")) == (200, True)
    return await bot.slack.wait_modal(user)


async def suggested(bot: House, modal: Modal, query: str, user: str = ADA) -> list[str]:
    """The ids that are suggested for what was typed."""
    return [option.value for option in await bot.slack.suggest(modal, query, user=user)]


async def submit(bot: House, modal: Modal, user: str = ADA, **values: str) -> None:
    """Submit the picker, and expect that it is answered in time."""
    ack = await bot.slack.submit(modal, values, user=user)
    assert (ack.status, ack.error) == (200, "")


# --- picking --------------------------------------------------------------------------------------------


async def test_a_model_is_picked_and_announced_where_it_was_asked_for(bot: House) -> None:
    """The modal then says what a command's ack says."""
    bot.modelslab.models = ["sdxl", "flux"]
    modal = await opened(bot)
    assert await suggested(bot, modal, "flu") == ["flu", "flux"]
    await submit(bot, modal, model="flux")
    told = " ".join(modal.texts)
    follow_up = await bot.wait_said("`flux`", READY, channel=MODELS)

    assert "Reloading `flux`" in told
    assert f"I'll ping you in <#{MODELS}> around" in told
    assert mentioned(follow_up.text) == [ADA]


@one_mode
async def test_it_can_be_announced_elsewhere(bot: House) -> None:
    """In any channel that is open to it."""
    modal = await opened(bot)
    await submit(bot, modal, typed="flux", where=OPS)
    await bot.wait_said("`flux`", READY, channel=OPS)

    assert bot.said("`flux`", channel=MODELS) == []


@one_mode
async def test_an_id_can_be_typed(bot: House) -> None:
    """As people type it, even one that is a word of the command."""
    modal = await opened(bot)
    await submit(bot, modal, typed=" `status` ")
    await bot.wait_said("`status`", READY)

    assert [call.model_id for call in bot.modelslab.calls] == ["status"]


@one_mode
@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, views.NOTHING_CHOSEN),
        ({"typed": "two words"}, views.NOT_AN_ID),
        ({"typed": "<!channel>"}, views.NOT_AN_ID),
        ({"typed": '""'}, views.NOT_AN_ID),
    ],
)
async def test_a_slip_is_marked_in_its_field(bot: House, values: Mapping[str, str], wrong: str) -> None:
    """The modal stays open, with what else is in it."""
    modal = await opened(bot)
    await submit(bot, modal, **values)
    assert modal.open
    assert list(modal.errors.values()) == [wrong]
    await submit(bot, modal, typed="sdxl")
    await bot.wait_said(READY)

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl"]


@one_mode
async def test_a_channel_that_is_not_open_is_marked_too(bot: House) -> None:
    """And the one that is open is there at first."""
    await bot.reopen(ALLOWED_CHANNELS=OPS)
    await bot.slack.shortcut(views.PICKER, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    await submit(bot, modal, typed="sdxl", where=MODELS)
    assert list(modal.errors.values()) == [views.CLOSED_CHANNEL]
    await submit(bot, modal, typed="sdxl")
    await bot.wait_said("`sdxl`", READY, channel=OPS)

    assert len(bot.modelslab.calls) == 1


@one_mode
async def test_a_modal_that_is_submitted_twice_is_one_invocation(bot: House) -> None:
    """Like a command that comes twice."""
    modal = await opened(bot)
    await asyncio.gather(submit(bot, modal, typed="sdxl"), submit(bot, modal, typed="sdxl"))
    await bot.wait_said(READY)
    await bot.wait_done()

    assert bot.sql("SELECT count(*) FROM reload_model_subscribers") == [(1,)]


# --- what is suggested ----------------------------------------------------------------------------------


@one_mode
async def test_what_was_reloaded_before_comes_first(bot: House) -> None:
    """Then the account's own; what was typed is always among it, if it could be an id."""
    bot.modelslab.models = ["sd-turbo", "flux"]
    await bot.ask("sdxl")
    await bot.wait_said(READY)
    modal = await opened(bot)

    assert (await suggested(bot, modal, ""))[0] == "sdxl"
    assert await suggested(bot, modal, "sd") == ["sd", "sdxl", "sd-turbo"]
    assert await suggested(bot, modal, "sdxl") == ["sdxl"]
    assert await suggested(bot, modal, "two words") == []


@one_mode
@pytest.mark.parametrize("answer", [error(500, "Internal server error"), Hang()], ids=["fails", "hangs"])
async def test_without_the_accounts_list_there_is_history(
    bot: House, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was typed. Nobody waits long for the list."""
    monkeypatch.setattr("bot.modelslab.catalog.FIRST_SECONDS", 0.1)
    bot.modelslab.fail_list(answer)
    await bot.ask("sdxl")
    await bot.wait_said(READY)
    modal = await opened(bot)

    assert await suggested(bot, modal, "s") == ["s", "sdxl"]


@one_mode
async def test_a_long_id_is_whole_when_it_comes_back(bot: House) -> None:
    """However it was shortened to be shown."""
    longest = "m" * MAX_ID
    bot.modelslab.models = [longest]
    modal = await opened(bot)
    (option,) = [found for found in await bot.slack.suggest(modal, "mm", user=ADA) if found.value != "mm"]
    await submit(bot, modal, model=option.value)
    await bot.wait_said(READY)

    assert len(option.text) == 75
    assert [call.model_id for call in bot.modelslab.calls] == [longest]


@one_mode
async def test_a_list_that_is_no_list_of_ids_is_harmless(bot: House) -> None:
    """Only what could be an id is offered."""
    bot.modelslab.models = ["ok-model", "two words", "<!channel>", "x" * 200, ""]
    modal = await opened(bot)

    assert "ok-model" in await suggested(bot, modal, "")
    assert not {"two words", "<!channel>", "x" * 200, ""} & set(await suggested(bot, modal, ""))


# --- the ways in ----------------------------------------------------------------------------------------


async def test_the_shortcut_opens_it_too(bot: House) -> None:
    """From anywhere in Slack."""
    ack = await bot.slack.shortcut(views.PICKER, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    await submit(bot, modal, typed="sdxl", where=OPS)
    await bot.wait_said(READY, channel=OPS)

    assert (ack.status, ack.error) == (200, "")
    assert modal.title == "Reload a model"


@one_mode
async def test_where_it_cannot_open_there_is_help(bot: House) -> None:
    """A trigger_id lasts three seconds, and Slack may be slow."""
    bot.slack.fail("views.open", "expired_trigger_id", times=1)
    await bot.slack.command("", user=ADA)
    help_ = await bot.wait_said(messages.help_text())

    assert (help_.via, help_.user) == ("response_url", ADA)


async def test_a_shortcut_that_opens_nothing(bot: House) -> None:
    """There is no channel to give help in: the log has why, and nobody is told anything."""
    bot.slack.fail("views.open", "expired_trigger_id", times=1)

    ack = await bot.slack.shortcut(views.PICKER, user=ADA)

    assert (ack.status, ack.error) == (200, "")
    assert (await bot.log.wait_for("picker_not_opened"))["code"] == "expired_trigger_id"
    assert bot.said() == []


# --- who may --------------------------------------------------------------------------------------------


@one_mode
async def test_nothing_opens_for_somebody_who_may_not(bot: House) -> None:
    """They are told what the command does, and why it does not for them."""
    ack = await bot.slack.command("", user=EVE)
    await bot.slack.shortcut(views.PICKER, user=EVE)
    refusal = await bot.slack.wait_modal(EVE)

    assert messages.help_text() in ack.text
    assert f"add your Slack ID, `{EVE}`" in ack.text
    assert f"add your Slack ID, `{EVE}`" in " ".join(refusal.texts)
    assert not refusal.view.get("submit")


@one_mode
async def test_suggestions_and_submissions_are_authorized_afresh(bot: House) -> None:
    """Whoever holds an open modal when they are taken off the list gets nothing out of it."""
    bot.modelslab.models = ["secret-model"]
    modal = await opened(bot)
    await bot.reopen(ALLOWED_USERS=EVE)

    assert await suggested(bot, modal, "") == []
    await submit(bot, modal, typed="sdxl")
    assert "You don't have permission" in " ".join(modal.texts)
    assert bot.reloads == []
