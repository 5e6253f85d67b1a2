"""The list of who can reload models: for admins only, with whom the settings allow and whom an admin added."""

import pytest

from bot.sandbox.slack.surfaces import Home
from bot.sandbox.slack.workspace import Message
from tests.scenarios.scenario import ADA, BEN, CEM, EVE, Scenario, labels
from tests.usergroups import FakeUserGroups

FAY = "U0FAY"
REVOKE, ADD = "Revoke", "Add people"

GRANTS = "SELECT user_id, granted_by FROM reload_model_grants ORDER BY user_id"


@pytest.fixture
async def bot(scenario: Scenario) -> Scenario:
    """A scenario in which Ben is an admin, and Ada and a user group with Cem in it are allowed by the settings."""
    scenario.slack.fail("usergroups.users.list", FakeUserGroups({"S0CREW": [CEM]}))
    await scenario.open(ALLOWED_USERS=f"{ADA} S0CREW", ADMIN_USERS=BEN)
    await scenario.log.wait_for("group_read")
    return scenario


async def choose(bot: Scenario, source: Message | Home, button: str, *people: str) -> str:
    """Press a button that opens a modal, choose people there, and return what it says then."""
    await bot.slack.press(source, button, user=BEN)
    modal = await bot.slack.wait_modal(BEN)
    ack = await bot.slack.submit(modal, {"people": " ".join(people)}, user=BEN)
    assert ack.error == ""
    modal.open = False
    return " ".join(modal.texts)


async def test_the_list_says_who_is_allowed_and_by_which_rule(bot: Scenario) -> None:
    """The settings, a group, and each grant with who gave it and when; only a grant can be revoked."""
    added = await choose(bot, await bot.shown("access", BEN), ADD, EVE, FAY, CEM)
    assert added == f"<@{EVE}>, <@{FAY}> can reload models now. I'll tell them. <@{CEM}> already had access."
    await bot.reopen(ALLOWED_USERS=f"{ADA} {FAY} S0CREW")
    await bot.log.wait_for("group_read", 2)
    message = await bot.shown("access", BEN)
    lines = message.text.splitlines()

    assert lines[:4] == [
        "Who can reload models",
        f"• Admins (`ADMIN_USERS`): <@{BEN}>",
        f"• Listed in the settings (`ALLOWED_USERS`): <@{ADA}>, <@{FAY}>, user group `S0CREW` (1 member)",
        "People named in the settings can only be removed there.",
    ]
    assert lines[4].startswith(f"• <@{EVE}> · granted by <@{BEN}> on <!date^")
    assert lines[5].startswith(f"• <@{FAY}> · granted by <@{BEN}> on <!date^")
    assert lines[5].endswith(f" · also listed in `ALLOWED_USERS` (`{FAY}`)")
    assert labels(message) == [REVOKE, REVOKE, ADD]
    await bot.slack.press(message, message.buttons[1], user=BEN)
    await bot.wait_said(f"I took back what an admin gave <@{FAY}>, but they can still reload models, because of")


async def test_access_counts_as_soon_as_it_is_given_and_until_it_is_revoked(bot: Scenario) -> None:
    """People are told once, and need not have asked. Those whom the settings also allow keep it, as the answer says."""
    await choose(bot, await bot.shown("access", BEN), ADD, EVE)
    await bot.wait_said(f"<@{BEN}> gave you access", channel=bot.slack.dm(EVE))
    assert (await bot.ask("sdxl", EVE)).text.startswith("Reloading `sdxl`")
    assert await choose(bot, await bot.shown("access", BEN), ADD, EVE) == f"<@{EVE}> already had access."
    assert len(bot.said("gave you access")) == 1
    assert bot.sql(GRANTS) == [(EVE, BEN)]

    message = await bot.shown("access", BEN)
    await bot.slack.press(message, REVOKE, user=BEN)
    await bot.wait_said(f"<@{EVE}> can't reload models any more.")
    await bot.slack.press(message, REVOKE, user=BEN)
    await bot.wait_said("There's nothing to revoke")
    assert "You don't have permission" in (await bot.ask("sdxl", EVE)).text
    assert (await bot.ask("flux", CEM)).text.startswith("Reloading `flux`")
    await bot.wait_sql("SELECT rule = 'S0CREW' FROM reload_model_audit WHERE user_id = ?", CEM)


async def test_the_home_tab_has_the_list_for_admins_only(bot: Scenario) -> None:
    """People are added and removed there, too, and it shows that. Help names the list, to admins only as well."""
    others = await bot.open_home(ADA, "No reloads right now.")
    tab = await bot.open_home(BEN, "Who can reload models")
    await choose(bot, tab, ADD, EVE)
    tab = await bot.wait_home(BEN, f"<@{EVE}> · granted by")
    await bot.slack.press(tab, REVOKE, user=BEN)
    await bot.wait_home(BEN, without=EVE)

    assert "Who can reload models" not in " ".join(others.texts)
    assert bot.sql(GRANTS) == []
    assert "/reload-model access" in (await bot.ask("help", BEN)).text
    assert "/reload-model access" not in (await bot.ask("help", ADA)).text


async def test_people_beyond_the_list_can_be_revoked_by_name(bot: Scenario) -> None:
    """A message has room for the last ten. Slack asks for somebody, but not every client may."""
    many = [f"U0P{number:02}" for number in range(28)]
    for some in (many[:14], many[14:]):
        await choose(bot, await bot.shown("access", BEN), ADD, *some)
    message = await bot.shown("access", BEN)
    assert message.text.splitlines()[-1] == "… and 18 more: the operator can list them with `reload-model-bot access`"
    still = f"<@{CEM}> can still reload models, because of `ALLOWED_USERS` (`S0CREW`)."
    assert await choose(bot, message, "Revoke others", CEM) == still
    answer = await choose(bot, message, "Revoke others", many[0], CEM, EVE)

    assert answer == f"<@{many[0]}> can't reload models any more. {still} No admin had given <@{EVE}> access."
    assert len(bot.sql(GRANTS)) == 27
    refused = await choose(bot, message, "Revoke others", EVE)
    assert refused.startswith("There's nothing to revoke")
    await bot.slack.press(message, ADD, user=BEN)
    modal = await bot.slack.wait_modal(BEN)
    modal.view["blocks"][0]["optional"] = True
    await bot.slack.submit(modal, user=BEN)
    assert modal.texts == ["Nobody was chosen."]
