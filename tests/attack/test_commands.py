"""Whatever people type is answered privately, in words that mention nobody else."""

from hypothesis import strategies as st

from tests.attack.conftest import Attack
from tests.attack.holds import harmless, unmoved
from tests.attack.junk import texts
from tests.scenarios.house import ADA, BEN, EVE, MODELS, OPS, House


async def test_any_text(bot: House, attack: Attack) -> None:
    """By whoever it is, and wherever."""

    async def holds(asked: tuple[str, str, str]) -> None:
        text, user, channel = asked
        harmless((await bot.ask(text[:8000], user, channel)).text)
        unmoved(bot)

    places = st.sampled_from([MODELS, OPS, "D0ADA", "G0PRIVATE"])
    await attack(st.tuples(texts, st.sampled_from([ADA, BEN, EVE]), places), holds)
    harmless((await bot.ask("status")).text)
    harmless((await bot.ask("history")).text)
    for message in bot.slack.messages:
        harmless(message.text)
