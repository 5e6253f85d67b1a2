"""What comes over Socket Mode is Slack's, and need not make sense for all that."""

import json

import pytest
from hypothesis import strategies as st

from tests.attack import payloads
from tests.attack.conftest import Attack
from tests.attack.holds import harmless, unmoved
from tests.attack.junk import Json, deep_json, json_values, spoilt, texts
from tests.scenarios.house import House

TYPES = ("slash_commands", "interactive", "events_api", "hello", "nothing like it")

# What asks for another connection has scenarios of its own: here the one that is attacked should stay.
_sound = st.one_of(
    st.tuples(st.just("slash_commands"), payloads.commands),
    st.tuples(st.just("interactive"), payloads.interactions),
    st.tuples(st.just("events_api"), payloads.events),
    st.tuples(st.sampled_from(TYPES), json_values),
)
envelopes = _sound.map(
    lambda made: {"envelope_id": "e", "type": made[0], "payload": made[1], "accepts_response_payload": True}
)
nonsense = st.one_of(envelopes.flatmap(spoilt).filter(lambda made: made.get("type") != "disconnect"), json_values)

pytestmark = pytest.mark.parametrize("mode", ["socket"])


async def test_any_envelope_is_acknowledged(bot: House, attack: Attack) -> None:
    """One that has an id, whatever it holds: else Slack would send it again."""

    async def holds(envelope: dict[str, Json]) -> None:
        ack = await bot.slack.send_envelope({**envelope})
        assert ack is not None
        payload = ack.get("payload")
        if isinstance(payload, dict):
            harmless(str(payload.get("text", "")))
        unmoved(bot)

    await attack(envelopes, holds)
    assert bot.slack.connections == 1


async def test_anything_else_is_passed_over(bot: House, attack: Attack) -> None:
    """Text that is no JSON, JSON that is no envelope: the next command is taken, on the same connection."""

    async def holds(text: str) -> None:
        await bot.slack.send_envelope(text)
        seen.update(unmoved(bot))

    seen: set[object] = set()
    await attack(st.one_of(nonsense.map(json.dumps), texts, deep_json), holds)
    assert (await bot.ask("help")).text
    assert "envelope_dropped" in seen | unmoved(bot)
    assert bot.slack.connections == 1
