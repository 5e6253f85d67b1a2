"""A Slack, or a ModelsLab, in a process of its own: python -m tests.bench.services slack|modelslab.

It introduces itself in a line of JSON, answers each order with another line, and ends with its input.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack import SandboxSlack
from tests.bench.load import CHANNELS, channel

READY = "should be ready now"


async def _lines() -> AsyncIterator[Mapping[str, object]]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def _say(said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


async def _slack() -> None:
    async with SandboxSlack() as slack:
        for n in range(CHANNELS):
            slack.add_channel(channel(n), f"room-{n}")

        async def statuses(number: object) -> list[str]:
            """Post a status message in each of so many channels, and return their ts."""
            assert isinstance(number, int)
            return [slack.say(channel(n), {"text": "is being reloaded"}, "api").ts for n in range(number)]

        async def posted(number: object) -> list[str]:
            """Wait until there are so many messages, and return their channels."""
            assert isinstance(number, int)
            await slack.wait_until(lambda: len(slack.messages) >= number, within=60)
            return [message.channel for message in slack.messages]

        async def followed_up(number: object) -> list[tuple[str, float]]:
            """Wait for so many follow-ups, and return where and when each came."""
            assert isinstance(number, int)
            await slack.wait_until(lambda: len(slack.messages) >= 2 * number, within=60)
            return [(message.channel, message.at) for message in slack.messages if READY in message.text]

        async def forget(_nothing: object) -> None:
            """Forget all messages."""
            slack.messages.clear()
            slack.calls.clear()

        _say(
            {
                "SLACK_BOT_TOKEN": slack.bot_token,
                "SLACK_SIGNING_SECRET": slack.signing_secret,
                "SLACK_API_URL": slack.api_url,
            }
        )
        orders: dict[str, Callable[[object], Awaitable[object]]] = {
            order.__name__: order for order in (statuses, posted, followed_up, forget)
        }
        async for line in _lines():
            for name, value in line.items():
                _say(await orders[name](value))


async def _modelslab() -> None:
    async with SandboxModelsLab() as modelslab:
        _say({"MODELSLAB_API_KEY": modelslab.key, "MODELSLAB_URL": modelslab.url})
        async for _ in _lines():
            pass


if __name__ == "__main__":
    asyncio.run(_slack() if sys.argv[1] == "slack" else _modelslab())
