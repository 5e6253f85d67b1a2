"""Slack refuses a message for a reason that will pass: other ways are used meanwhile, and nothing is given up early."""

import pytest

from tests.scenarios.scenario import ADA, MODELS, READY, Scenario

PASSING = ("team_added_to_org", "org_login_required", "message_limit_exceeded", "missing_scope", "what_is_this")


@pytest.fixture
def mode() -> str:
    """In both modes alike."""
    return "socket"


@pytest.mark.parametrize("code", PASSING)
async def test_the_response_url_is_used_meanwhile(bot: Scenario, code: str) -> None:
    """It leads into the same channel, and needs neither the token nor a scope."""
    bot.slack.fail("chat.postMessage", code)
    await bot.ask("sdxl")
    await bot.wait_done()

    assert [(message.channel, message.via) for message in bot.said(READY)] == [(MODELS, "response_url")]


@pytest.mark.parametrize("code", PASSING)
async def test_the_channel_is_tried_again(bot: Scenario, code: str) -> None:
    """Where nothing else leads there; nobody gets a direct message for what passes soon."""
    bot.slack.fail("response_url", "used_url")
    bot.slack.fail("chat.postMessage", code, times=4)  # the status message and the follow-up
    await bot.ask("sdxl")
    await bot.wait_done()

    assert [(message.channel, message.via) for message in bot.said(READY)] == [(MODELS, "api")]
    assert bot.log.of("undeliverable") == []


@pytest.mark.parametrize("code", PASSING)
async def test_people_are_told_directly_where_it_does_not_pass(bot: Scenario, code: str) -> None:
    """After a while, and even where that is refused at first."""
    bot.slack.fail("response_url", "used_url")
    bot.slack.fail("chat.postMessage", code, channel=MODELS)
    bot.slack.fail("conversations.open", code, times=3)
    await bot.ask("sdxl")
    await bot.wait_done()

    assert [(message.via, message.user) for message in bot.said(READY)] == [("dm", ADA)]
    assert bot.log.of("undeliverable") == []
