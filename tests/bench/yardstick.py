"""What the bot is measured against: default async Bolt, which records and calls nothing. python -m … PORT."""

import os
import sys

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

app = AsyncApp(
    client=AsyncWebClient(token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)


@app.command("/reload-model")
async def acknowledge(ack: AsyncAck, command: dict[str, str]) -> None:
    """Say what was asked for."""
    await ack(f"Reloading `{command['text']}`.")


if __name__ == "__main__":
    app.start(port=int(sys.argv[1]), host="127.0.0.1")
