"""Random text and random envelopes over Socket Mode."""

import asyncio
import json

import pytest
from hypothesis import strategies as st

from tests.attack.conftest import Attack, all_harmless, harmless, unharmed
from tests.attack.junk import Json, Payloads, broken, broken_of, deep_json, json_values, texts
from tests.scenarios.scenario import Scenario

TYPES = ("slash_commands", "interactive", "events_api", "hello", "nothing like it")

pytestmark = pytest.mark.parametrize("mode", ["socket"])


def envelopes(valid: Payloads) -> st.SearchStrategy[dict[str, Json]]:
    """Envelopes with a payload of their kind, or with nonsense."""
    payloads: list[st.SearchStrategy[tuple[str, Json]]] = [
        st.tuples(st.just(kind), broken_of(examples)) for kind, examples in valid.items()
    ]
    made = st.one_of(*payloads, st.tuples(st.sampled_from(TYPES), json_values))
    return made.map(
        lambda made: {"envelope_id": "e", "type": made[0], "payload": made[1], "accepts_response_payload": True}
    )


async def test_any_envelope_is_acknowledged(bot: Scenario, attack: Attack, payloads: Payloads) -> None:
    """If it has an ID, whatever it contains: otherwise Slack would send it again. No answer mentions anybody else."""

    async def holds(envelope: dict[str, Json]) -> None:
        async with asyncio.timeout(30.0):
            ack = await bot.slack.socket_mode.deliver({**envelope})
        payload = ack.get("payload")
        if isinstance(payload, dict):
            harmless(str(payload.get("text", "")))
        unharmed(bot)

    await attack(envelopes(payloads), holds)
    harmless((await bot.ask("status")).text, (await bot.ask("history")).text)
    all_harmless(bot)
    assert bot.slack.connections == 1


async def test_anything_else_is_ignored(bot: Scenario, attack: Attack, payloads: Payloads) -> None:
    """Text that isn't JSON, and JSON that isn't an envelope. The next command is taken on the same connection."""

    async def holds(text: str) -> None:
        await bot.slack.socket_mode.send(text)
        seen.update(unharmed(bot))

    seen: set[object] = set()
    broken_ones = envelopes(payloads).flatmap(broken).filter(lambda made: made.get("type") != "disconnect")
    await attack(st.one_of(broken_ones.map(json.dumps), json_values.map(json.dumps), texts, deep_json), holds)
    assert (await bot.ask("help")).text
    assert "envelope_dropped" in seen | unharmed(bot)
    assert bot.slack.connections == 1
