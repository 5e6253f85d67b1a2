"""Whatever people type is answered privately and harmlessly, and what comes over Socket Mode need not make sense."""

import asyncio
import json

import pytest
from hypothesis import strategies as st

from tests.attack.conftest import Attack, all_harmless, harmless, unmoved
from tests.attack.junk import Json, Sound, deep_json, json_values, spoilt, spoilt_of, texts
from tests.scenarios.scenario import ADA, BEN, EVE, MODELS, OPS, Scenario

TYPES = ("slash_commands", "interactive", "events_api", "hello", "nothing like it")

pytestmark = pytest.mark.parametrize("mode", ["socket"])


async def test_any_text(bot: Scenario, attack: Attack) -> None:
    """From any person, in any channel: the answer mentions nobody else."""

    async def holds(asked: tuple[str, str, str]) -> None:
        text, user, channel = asked
        harmless((await bot.ask(text, user, channel)).text)
        unmoved(bot)

    places = st.sampled_from([MODELS, OPS, "D0ADA", "G0PRIVATE"])
    await attack(st.tuples(texts, st.sampled_from([ADA, BEN, EVE]), places), holds)
    harmless((await bot.ask("status")).text, (await bot.ask("history")).text)
    all_harmless(bot)


def envelopes(sound: Sound) -> st.SearchStrategy[dict[str, Json]]:
    """Envelopes with a payload of their kind, or with nonsense."""
    payloads: list[st.SearchStrategy[tuple[str, Json]]] = [
        st.tuples(st.just(kind), spoilt_of(examples)) for kind, examples in sound.items()
    ]
    made = st.one_of(*payloads, st.tuples(st.sampled_from(TYPES), json_values))
    return made.map(
        lambda made: {"envelope_id": "e", "type": made[0], "payload": made[1], "accepts_response_payload": True}
    )


async def test_any_envelope_is_acknowledged(bot: Scenario, attack: Attack, sound: Sound) -> None:
    """One that has an id, whatever it holds: else Slack would send it again."""

    async def holds(envelope: dict[str, Json]) -> None:
        async with asyncio.timeout(30.0):
            ack = await bot.slack.socket_mode.deliver({**envelope})
        payload = ack.get("payload")
        if isinstance(payload, dict):
            harmless(str(payload.get("text", "")))
        unmoved(bot)

    await attack(envelopes(sound), holds)
    assert bot.slack.connections == 1


async def test_anything_else_is_passed_over(bot: Scenario, attack: Attack, sound: Sound) -> None:
    """Text that is no JSON, JSON that is no envelope: the next command is taken, on the same connection."""

    async def holds(text: str) -> None:
        await bot.slack.socket_mode.send(text)
        seen.update(unmoved(bot))

    seen: set[object] = set()
    spoilt_ones = envelopes(sound).flatmap(spoilt).filter(lambda made: made.get("type") != "disconnect")
    await attack(st.one_of(spoilt_ones.map(json.dumps), json_values.map(json.dumps), texts, deep_json), holds)
    assert (await bot.ask("help")).text
    assert "envelope_dropped" in seen | unmoved(bot)
    assert bot.slack.connections == 1
