"""What the bot is measured against, each a process of its own: python -m tests.bench.yardsticks KIND PORT.

KIND is raw (a bare aiohttp handler that checks the signature), bolt (default Bolt, which polls for its ack), before
(Bolt with process_before_response); PORT 0 means Socket Mode. None of them records or calls anything.
"""

import asyncio
import hashlib
import hmac
import os
import sys


def main(kind: str, port: int) -> None:
    """Serve until killed."""
    if kind == "raw":
        _raw(port)
    else:
        _bolt(port, before=kind == "before")


def _raw(port: int) -> None:
    from aiohttp import web  # noqa: PLC0415 - each kind loads what it needs

    secret = os.environ["SLACK_SIGNING_SECRET"].encode()

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        signed = f"v0:{request.headers['X-Slack-Request-Timestamp']}:".encode() + body
        digest = hmac.new(secret, signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"v0={digest}", request.headers["X-Slack-Signature"]):
            raise web.HTTPUnauthorized
        return web.Response(text="Reloading")

    app = web.Application()
    app.router.add_post("/slack/events", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


def _bolt(port: int, *, before: bool) -> None:
    from slack_bolt.async_app import AsyncAck, AsyncApp  # noqa: PLC0415 - as above
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415 - as above

    app = AsyncApp(
        client=AsyncWebClient(token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
        signing_secret=os.environ["SLACK_SIGNING_SECRET"],
        process_before_response=before,
    )

    @app.command("/reload-model")
    async def acknowledge(ack: AsyncAck, command: dict[str, str]) -> None:
        await ack(f"Reloading `{command['text']}`.")

    if port:
        app.start(port=port, host="127.0.0.1")
        return
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler  # noqa: PLC0415 - as above

    async def connect() -> None:
        await AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"]).start_async()  # type: ignore[no-untyped-call]

    asyncio.run(connect())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
