"""The Bolt app, and the one way into it, for HTTP mode and Socket Mode alike."""

from collections.abc import Mapping
from logging import Logger

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import Malformed


def new_app(client: AsyncWebClient, logger: Logger) -> AsyncApp:
    """Make a Bolt app without listeners.

    What its built-in middleware does has been done before a request gets here (bot.slack.http, bot.slack.socket_mode),
    or isn't needed. process_before_response spares Bolt's poll for the ack, every 10 ms: a listener does little, and
    returns.
    https://github.com/slackapi/bolt-python/blob/main/slack_bolt/listener/asyncio_runner.py
    """

    async def authorize() -> AuthorizeResult:
        """Spare auth.test before the first ack: bot.app calls it at the start."""
        return AuthorizeResult(enterprise_id=None, team_id=None, bot_token=client.token)

    return AsyncApp(
        name="reload-model",
        client=client,
        authorize=authorize,
        process_before_response=True,
        raise_error_for_unhandled_request=True,  # bot.handlers.errors answers it; Bolt would log the body
        request_verification_enabled=False,
        ignoring_self_events_enabled=False,
        ssl_check_enabled=False,
        url_verification_enabled=False,
        attaching_function_token_enabled=False,
        logger=logger,
    )


async def dispatch(app: AsyncApp, payload: Mapping[str, object]) -> BoltResponse:
    """Give Bolt an authenticated payload. Raises Malformed for one that Slack would not send.

    socket_mode is the mode in which Bolt takes a payload that has been parsed.
    """
    try:
        return await app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=dict(payload)))
    except Malformed:
        raise
    except Exception as error:
        # Bolt reads nested fields without a look at what they are.
        # https://github.com/slackapi/bolt-python/blob/main/slack_bolt/request/internals.py
        raise Malformed(f"a payload that Bolt cannot read ({type(error).__name__})") from error
