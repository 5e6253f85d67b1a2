"""Random text and random envelopes over Socket Mode."""

import asyncio
import json

import pytest
from hypothesis import strategies as st

from tests.attack.conftest import Attack, all_harmless, harmless, unharmed
from tests.attack.junk import Json, Payloads, broken, broken_of, deep_json, json_values, texts
from tests.scenarios.scenario import ADA, BEN, EVE, MODELS, OPS, Scenario

TYPES = ("slash_commands", "interactive", "events_api", "hello", "nothing like it")

pytestmark = pytest.mark.parametrize("mode", ["socket"])


async def test_any_text(bot: Scenario, attack: Attack) -> None:
    """From any person, in any channel: the answer mentions nobody else."""

    async def holds(asked: tuple[str, str, str]) -> None:
        text, user, channel = asked
        harmless((await bot.ask(text[:8000], user, channel)).text)
        unharmed(bot)

    places = st.sampled_from([MODELS, OPS, "D0ADA", "G0PRIVATE"])
    await attack(st.tuples(texts, st.sampled_from([ADA, BEN, EVE]), places), holds)
    harmless((await bot.ask("status")).text, (await bot.ask("history")).text)
    all_harmless(bot)


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
    """If it has an ID, whatever it contains: otherwise Slack would send it again."""

    async def holds(envelope: dict[str, Json]) -> None:
        async with asyncio.timeout(30.0):
            ack = await bot.slack.socket_mode.deliver({**envelope})
        payload = ack.get("payload")
        if isinstance(payload, dict):
            harmless(str(payload.get("text", "")))
        unharmed(bot)

    await attack(envelopes(payloads), holds)
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
