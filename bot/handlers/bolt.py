"""The Bolt app, the entry point for HTTP mode and Socket Mode, and the answer when a listener raises."""

import logging
from collections.abc import Mapping
from time import monotonic

import structlog
from slack_bolt.async_app import AsyncApp, AsyncBoltContext
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltUnhandledRequestError
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import Malformed, Refusal, Refused
from bot.handlers.access import Access, SlackRequest
from bot.handlers.store import arrived_at
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.ui.grants import ask_buttons
from bot.ui.messages import Message
from bot.ui.reasons import sentence

log = structlog.get_logger(__name__)


def new_app(access: Access, command: str) -> AsyncApp:
    """Make a Bolt app without listeners; command is the name of the slash command. Its own client isn't used.

    Its built-in middleware is off: bot.slack.http and bot.slack.socket_mode have done that work already, or it isn't
    needed. With process_before_response, Bolt doesn't poll for the ack every 10 ms: listeners return quickly.
    https://github.com/slackapi/bolt-python/blob/main/slack_bolt/listener/asyncio_runner.py
    """
    logger = logging.getLogger("slack_bolt.app")
    logger.setLevel(logging.ERROR)  # without a level of its own, Bolt would log every request

    app = AsyncApp(
        name="reload-model",
        client=AsyncWebClient(),
        authorize=_authorize,
        process_before_response=True,
        raise_error_for_unhandled_request=True,  # it is answered below; Bolt would log the body
        request_verification_enabled=False,
        ignoring_self_events_enabled=False,
        ssl_check_enabled=False,
        url_verification_enabled=False,
        attaching_function_token_enabled=False,
        logger=logger,
    )

    @app.error
    async def after_error(error: Exception, body: Fields, context: AsyncBoltContext) -> BoltResponse:
        """Answer the error of a listener. Raises it again if the request itself is wrong; see dispatch()."""
        if isinstance(error, BoltUnhandledRequestError):
            return _ignored(body)
        slack_request: SlackRequest | None = context.get("slack_request")
        if slack_request is None or isinstance(error, Malformed):
            raise error
        refused = error if isinstance(error, Refused) else Refused(Refusal.INTERNAL_ERROR)
        if error is not refused:  # a bug: the person reads that something broke
            log.error("internal_error", user=slack_request.person.user_id, exc_info=error)
        try:
            return await _refuse(slack_request, refused, access, command)
        except Exception:  # otherwise dispatch() would call the request malformed
            log.exception("internal_error")
            return BoltResponse(status=200)

    return app


async def _authorize() -> AuthorizeResult:
    """Avoid a call of auth.test before the first ack: bot.app calls it at the start."""
    return AuthorizeResult(enterprise_id=None, team_id=None, bot_token=None)


async def _refuse(slack_request: SlackRequest, refused: Refused, access: Access, command: str) -> BoltResponse:
    """Record a refusal, and say why. A way out is a button below, if there is one."""
    if slack_request.what is not None:
        access.record(slack_request, refused.reason, rule=refused.rule)
    # Only the slash command makes a person known: a stranger is pointed to it, even in a thread.
    called = command if refused.reason is Refusal.OTHER_WORKSPACE else slack_request.called or command
    buttons = ask_buttons(refused, slack_request.person.place, slack_request.of)
    return await slack_request.reply(Message(sentence(refused, called), buttons=buttons))


async def dispatch(app: AsyncApp, payload: Mapping[str, object]) -> BoltResponse:
    """Give Bolt an authenticated payload. Raises Malformed for one that Slack wouldn't send.

    In the mode "socket_mode", Bolt takes a payload that has already been parsed.
    """
    arrived_at.set(monotonic())
    try:
        return await app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=dict(payload)))
    except Malformed:
        raise
    except Exception as error:
        # Bolt reads nested fields without checking their types, and so do our readers.
        # https://github.com/slackapi/bolt-python/blob/main/slack_bolt/request/internals.py
        raise Malformed(f"a payload that can't be read ({type(error).__name__})") from error


def _ignored(body: Fields) -> BoltResponse:
    """Acknowledge a request without a listener, such as a press of an old version's button. Raises Malformed.

    Slack stops sending events to an app that refuses many of them.
    """
    if body["type"] == "event_callback":
        payloads.text(body["event"]["type"])
    elif body["type"] == "app_rate_limited":  # https://docs.slack.dev/reference/events/app_rate_limited
        log.warning("events_rate_limited")
    elif body["type"] in payloads.INTERACTIONS:
        payloads.interaction_author(body)
    else:
        raise Malformed("a payload of a type that this app doesn't use")
    return BoltResponse(status=200)
