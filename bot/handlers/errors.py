"""What a surface answers when a listener raises: the one place that turns a reason into an answer and an audit line."""

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext
from slack_bolt.error import BoltUnhandledRequestError
from slack_bolt.response import BoltResponse

from bot.core.command import Pick
from bot.errors import CommitUncertain, DatabaseUnavailable, Malformed, Refusal, Refused
from bot.handlers.audit_trail import AuditTrail
from bot.handlers.replies import Replies
from bot.settings import COMMAND, SLASH_COMMAND
from bot.slack import payloads
from bot.slack.payloads import Fields
from bot.ui import messages, views
from bot.ui.messages import Message
from bot.ui.reasons import sentence

log = structlog.get_logger(__name__)


def register(app: AsyncApp, audit: AuditTrail, replies: Replies, command: str = COMMAND) -> None:
    """Register the error handler, for listeners and their middleware; command is the name of the slash command."""

    @app.error
    async def answer(error: Exception, body: Fields, context: AsyncBoltContext, ack: AsyncAck) -> BoltResponse:
        """Raises Malformed for what is wrong with the request itself; see bot.handlers.bolt.dispatch."""
        if isinstance(error, BoltUnhandledRequestError):
            typed = str(body.get("command"))
            if SLASH_COMMAND.fullmatch(typed):
                payloads.slash_command(body)
                log.warning("unknown_command", command=typed, expected=command)
                return await ack(messages.other_command(typed, command), response_type="ephemeral")
            payloads.ignorable(body)
            return BoltResponse(status=200)
        if "person" not in context:  # no listener has read it: it is Bolt that cannot, or one of our readers
            raise error
        refused = _refusal(error, context)
        kind = body.get("type")
        if kind == "block_suggestion":
            return await ack(options=[])
        audit.record(context, refused.reason, rule=refused.rule)
        text = sentence(refused, command)
        if "invocation" in context:
            bare = isinstance(context["wanted"], Pick)
            return await ack(f"{messages.help_text(command)}\n{text}" if bare else text, response_type="ephemeral")
        if kind == "view_submission":
            return await ack(response_action="update", view=views.notice(text))
        if kind == "block_actions":
            replies.to_press(context["press"], context["person"], Message(text))
        elif kind == "shortcut":
            replies.open(context["trigger_id"], views.notice(text))
        return await ack()


def _refusal(error: Exception, context: AsyncBoltContext) -> Refused:
    """Why nothing was started, or may not have been. Raises Malformed again."""
    match error:
        case Malformed():
            raise error
        case Refused():
            return error
        case CommitUncertain():
            return Refused(Refusal.UNCERTAIN)
        case DatabaseUnavailable():
            return Refused(Refusal.NOT_LISTED)
    log.error("internal_error", user=context["person"].user_id, exc_info=error)
    return Refused(Refusal.INTERNAL_ERROR)
