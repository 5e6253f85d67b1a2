"""Sound payloads of every kind, as people's doings make them, and the spoilt ones made of them."""

from collections.abc import Mapping, Sequence
from unittest.mock import patch

from hypothesis import strategies as st

from bot.core.command import SHORTCUT
from bot.sandbox.delivery import Ack, Kind
from bot.sandbox.wire import JsonObject
from tests.attack.junk import Json, spoilt
from tests.scenarios.house import ADA, OPS, READY, House

Sound = Mapping[Kind, Sequence[JsonObject]]


async def recorded(bot: House) -> Sound:
    """What Slack sends while somebody does everything that there is to do, by kind of envelope."""
    sent: dict[Kind, list[JsonObject]] = {"slash_commands": [], "interactive": [], "events_api": []}
    deliver = bot.slack.deliver

    async def recording(kind: Kind, payload: JsonObject, *, request_url: str | None = None, retry: str = "") -> Ack:
        sent[kind].append(payload)
        return await deliver(kind, payload, request_url=request_url, retry=retry)

    with patch.object(bot.slack, "deliver", recording):
        await bot.ask("sdxl")
        await bot.slack.press(await bot.wait_said(READY), "Remind me before it's unloaded", user=ADA)
        await bot.slack.shortcut(SHORTCUT, user=ADA)
        modal = await bot.slack.wait_modal(ADA)
        await bot.slack.suggest(modal, "s", user=ADA)
        await bot.slack.submit(modal, {"typed": "flux", "where": OPS}, user=ADA)
        await bot.slack.open_home(ADA)
        home = await bot.slack.wait_home(ADA, lambda home: bool(home.buttons))
        await bot.slack.press_in(home, home.buttons[0], user=ADA)
    sent["events_api"].append({"type": "url_verification", "challenge": "abc"})
    await bot.wait_done(2)
    return sent


def spoilt_of(sound: Sequence[JsonObject]) -> st.SearchStrategy[dict[str, Json]]:
    """One of these, spoilt or whole."""
    return st.sampled_from(sound).flatmap(spoilt)
