"""The picker: people pick a model or type its ID, and say where to post updates, without remembering anything."""

import asyncio
from collections.abc import Mapping

import pytest

from bot.core.command import MAX_ID, SHORTCUT
from bot.sandbox.modelslab import error
from bot.sandbox.slack.surfaces import Modal
from bot.ui import messages, views
from tests.answers import Answer, Hang, Raw
from tests.scenarios.scenario import (
    ADA,
    MODELS,
    OPS,
    READY,
    Scenario,
    both_modes,
    eventually,
    eventually_answered,
    mentioned,
)
from tests.times import set_timing


async def opened(bot: Scenario) -> Modal:
    """The picker, after a command without text, which is answered with nothing else."""
    ack = await bot.slack.command("", user=ADA, channel=MODELS)
    assert (ack.status, ack.raw in (b"", b"null")) == (200, True)
    return await bot.slack.wait_modal(ADA)


async def grouped(bot: Scenario, modal: Modal, query: str) -> dict[str, list[str]]:
    """The IDs that are suggested for what was typed, by the label of their group."""
    groups: dict[str, list[str]] = {}
    for option in await bot.slack.suggest(modal, query, user=ADA):
        groups.setdefault(option.group, []).append(option.value)
    return groups


async def submit(bot: Scenario, modal: Modal, **values: str) -> None:
    """Submit the picker, and expect that it is answered."""
    ack = await bot.slack.submit(modal, values, user=ADA)
    assert (ack.status, ack.error) == (200, "")


@both_modes
async def test_a_model_is_picked_for_the_channel_of_the_command(bot: Scenario) -> None:
    """The modal then says what a command's ack says. The model can be one that the public list doesn't have."""
    modal = await opened(bot)
    assert await grouped(bot, modal, "mascot") == {"What you typed": ["mascot"], "Yours": ["our-mascot"]}
    await submit(bot, modal, model="our-mascot")
    told = " ".join(modal.texts)
    follow_up = await bot.wait_said("`our-mascot`", READY, channel=MODELS)

    assert "Reloading `our-mascot`" in told
    assert f"I'll ping you in <#{MODELS}> around" in told
    assert mentioned(follow_up.text) == [ADA]
    assert [call.model_id for call in bot.modelslab.calls] == ["our-mascot"]


async def test_an_id_is_typed_and_another_channel_is_chosen(bot: Scenario) -> None:
    """As people type an ID, even one that is a word of the command. Submitted twice, it is one invocation."""
    modal = await opened(bot)
    await asyncio.gather(*(submit(bot, modal, typed=" `status` ", where=OPS) for _ in range(2)))
    await bot.wait_said("`status`", READY, channel=OPS)

    assert bot.said("`status`", channel=MODELS) == []
    assert [call.model_id for call in bot.modelslab.calls] == ["status"]
    assert bot.sql("SELECT count(*) FROM reload_model_subscribers") == [(1,)]


async def test_a_mistake_is_marked_in_its_field(bot: Scenario) -> None:
    """The modal stays open, with what else is in it. Some clients let people leave the channel empty."""
    await bot.slack.shortcut(SHORTCUT, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    no_ids = dict.fromkeys(("two words", "<!channel>", '""'), views.NOT_AN_ID)
    for typed, wrong in ({"": views.NOTHING_CHOSEN} | no_ids).items():
        await submit(bot, modal, typed=typed, where=OPS)
        assert modal.open
        assert list(modal.errors.values()) == [wrong]
    filled = {"values": {views.TYPED: {views.TYPED: {"type": "plain_text_input", "value": "sdxl"}}}}
    await bot.slack.submit(modal, {"where": OPS}, user=ADA, view=modal.view | {"state": filled})
    assert modal.errors == {"Post updates in": views.NO_CHANNEL}
    await bot.reopen(ALLOWED_CHANNELS=OPS)
    await submit(bot, modal, typed="sdxl", where=MODELS)
    assert modal.errors == {"Post updates in": views.CLOSED_CHANNEL}
    modal.open = False
    await bot.slack.shortcut(SHORTCUT, user=ADA)
    await submit(bot, await bot.slack.wait_modal(ADA), typed="sdxl")
    await bot.wait_said(READY, channel=OPS)

    assert [call.model_id for call in bot.modelslab.calls] == ["sdxl"]


async def test_models_are_suggested_in_groups(bot: Scenario) -> None:
    """What was reloaded here, the account's own, then the public ones; what was typed is first if it could be an ID."""
    bot.modelslab.models = ["sd-turbo", "flux", "sdxl"]
    bot.modelslab.own_models = ["our-sd", "sdxl"]
    await bot.ask("sdxl")
    await bot.wait_said(READY)
    modal = await opened(bot)

    assert (await grouped(bot, modal, ""))["Reloaded here"] == ["sdxl"]
    assert await grouped(bot, modal, "sd") == {
        "What you typed": ["sd"],
        "Reloaded here": ["sdxl"],
        "Yours": ["our-sd"],
        "Public": ["sd-turbo"],
    }
    assert await grouped(bot, modal, "`sdxl`") == {"What you typed": ["sdxl"]}
    assert await grouped(bot, modal, "two words") == {}


@pytest.mark.parametrize(
    ("lists", "groups", "logged"),
    [
        ({"public": error(500, "Internal server error")}, {"What you typed", "Reloaded here", "Yours"}, ["public"]),
        ({"own": Raw(200, b"<html>")}, {"What you typed", "Reloaded here", "Public"}, ["own"]),
        ({"public": Hang(), "own": Hang()}, {"What you typed", "Reloaded here"}, []),
    ],
    ids=["public", "own", "both hang"],
)
async def test_a_list_that_cannot_be_read_hides_no_other(
    bot: Scenario, lists: Mapping[str, Answer], groups: set[str], logged: list[str]
) -> None:
    """Nor does one that does not come in time. A fault is one line in the log, however much is typed."""
    set_timing(models_wait=0.05)
    await bot.reopen()
    bot.modelslab.models, bot.modelslab.own_models = ["sd-turbo"], ["our-sd"]
    bot.modelslab.lists.update(lists)
    await bot.ask("sdxl")
    await bot.wait_said(READY)
    modal = await opened(bot)

    async def others_are_suggested() -> bool:
        return set(await grouped(bot, modal, "s")) == groups

    assert await eventually_answered(others_are_suggested)
    await grouped(bot, modal, "sd")
    await eventually(lambda: [line["list"] for line in bot.log.of("models_not_readable")] == logged)


async def test_a_long_list_with_long_ids(bot: Scenario) -> None:
    """There are no more suggestions than Slack takes, of IDs only. A shortened one is whole when it is picked."""
    longest, no_ids = "m" * MAX_ID, ["two words", "<!channel>", "x" * 200, ""]
    bot.modelslab.models = [longest, *no_ids, *(f"sd-{number}" for number in range(20_000))]
    bot.modelslab.own_models = [*no_ids, *(f"our-sd-{number}" for number in range(200))]
    modal = await opened(bot)
    found = await grouped(bot, modal, "sd")
    assert {label: len(ids) for label, ids in found.items()} == {"What you typed": 1, "Yours": 69, "Public": 30}
    assert not {*no_ids} & {id_ for ids in (await grouped(bot, modal, "")).values() for id_ in ids}
    (option,) = [found for found in await bot.slack.suggest(modal, "mm", user=ADA) if found.value != "mm"]
    await submit(bot, modal, model=option.value)
    await bot.wait_said(READY)

    assert len(option.text) == 75
    assert [call.model_id for call in bot.modelslab.calls] == [longest]


@both_modes
async def test_the_shortcut_opens_it_too(bot: Scenario) -> None:
    """From anywhere in Slack. If it can't open, the log says why; a command is answered with help then."""
    bot.slack.fail("views.open", "expired_trigger_id", times=2)
    ack = await bot.slack.shortcut(SHORTCUT, user=ADA)
    assert (ack.status, ack.error) == (200, "")
    assert (await bot.log.wait_for("modal_not_opened"))["reason"] == "expired_trigger_id"
    assert bot.said() == []
    await bot.slack.command("", user=ADA)
    help_ = await bot.wait_said(messages.help_text("/reload-model"))
    assert (help_.via, help_.user) == ("response_url", ADA)
    bot.slack.fail("views.open", "exchanged_trigger_id", times=1)  # the command was delivered twice
    await bot.slack.command("", user=ADA)

    await bot.slack.shortcut(SHORTCUT, user=ADA)
    modal = await bot.slack.wait_modal(ADA)
    await submit(bot, modal, typed="sdxl", where=OPS)
    await bot.wait_said(READY, channel=OPS)
    assert modal.title == "Reload a model"
    assert len(bot.log.of("modal_not_opened")) == 2
