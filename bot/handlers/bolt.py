"""The Bolt app: routes what Slack sends to the listener, and its answer to the ack. No decisions of its own."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from logging import Logger

from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.access import Allowlist
from bot.slack import payloads as payload
from bot.slack.payloads import Ignored, Press, Request, Shortcut, SlackRequest, SlashCommand, Submission, Typing
from bot.ui.buttons import Action
from bot.ui.views import MODEL, PICKER

_REQUEST = "request"

Answer = Callable[[SlackRequest], Awaitable[Mapping[str, object]]]


def build(slack: AsyncWebClient, allowlist: Allowlist, answer: Answer, bolt_log: Logger) -> AsyncApp:
    """The Bolt app. Signatures and shapes have been checked before a request gets here (bot.web, bot.socket_mode).

    process_before_response spares the 10 ms poll for the ack: the listener does its little work and returns.
    https://github.com/slackapi/bolt-python/blob/main/slack_bolt/listener/asyncio_runner.py
    """

    async def authorize() -> AuthorizeResult:
        home = allowlist.home
        return AuthorizeResult(
            enterprise_id=home.enterprise_id if home else None,
            team_id=home.team_id if home else None,
            bot_token=slack.token,
        )

    app = AsyncApp(
        name="reload-model",
        client=slack,
        authorize=authorize,
        process_before_response=True,
        request_verification_enabled=False,
        ignoring_self_events_enabled=False,
        ssl_check_enabled=False,
        url_verification_enabled=False,
        attaching_function_token_enabled=False,
        logger=bolt_log,
    )

    async def listen(ack: AsyncAck, context: AsyncBoltContext) -> None:
        carried = await answer(context[_REQUEST])
        await ack(dict(carried) if carried else "")  # an empty one has no body at all

    app.command(payload.COMMAND)(listen)
    for action in Action:
        app.action(action.value)(listen)
    app.view(PICKER)(listen)
    app.options(MODEL)(listen)
    app.global_shortcut(PICKER)(listen)
    app.event("app_home_opened")(listen)
    return app


async def dispatch(app: AsyncApp, request: Request) -> BoltResponse:
    """Give Bolt a request that has been read, in whichever mode it came.

    Of Slack's payload it gets only what it routes by: it stumbles over much else that is odd, like a channel that is
    no object. https://github.com/slackapi/bolt-python/blob/main/slack_bolt/request/internals.py
    """
    if isinstance(request, Ignored):
        return BoltResponse(status=HTTPStatus.OK)
    body, context = _route(request), {_REQUEST: request}
    return await app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=body, context=context))


def _route(request: SlackRequest) -> dict[str, object]:
    """As little of the payload as Bolt needs to tell what it is."""
    match request:
        case SlashCommand():
            return {"command": payload.COMMAND}
        case Press():
            return {"type": "block_actions", "actions": [{"action_id": request.action.value, "block_id": ""}]}
        case Submission():
            return {"type": "view_submission", "view": {"type": "modal", "callback_id": PICKER}}
        case Typing():
            return {"type": "block_suggestion", "action_id": MODEL}
        case Shortcut():
            return {"type": "shortcut", "callback_id": PICKER}
    return {"type": "event_callback", "event": {"type": "app_home_opened"}}
