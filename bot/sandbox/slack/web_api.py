"""The methods of Slack's Web API that the bot calls, as functions of their arguments.

https://docs.slack.dev/reference/methods
"""

from collections.abc import Callable

from bot.sandbox.slack.surfaces import Surfaces
from bot.sandbox.slack.workspace import Message, Via
from bot.sandbox.wire import ApiError, JsonObject


def call(slack: Surfaces, method: str, args: JsonObject) -> JsonObject:
    """Carry out a method, and return its answer. Raises ApiError where Slack would refuse."""
    if method not in _METHODS:
        raise ApiError("unknown_method")
    scope, carry_out = _METHODS[method]
    if scope and scope not in slack.scopes:
        raise ApiError("missing_scope")
    return {"ok": True, **carry_out(slack, args)}


def _auth_test(slack: Surfaces, _args: JsonObject) -> JsonObject:
    enterprise = {"enterprise_id": slack.enterprise_id} if slack.enterprise_id else {}
    names = {"team": "Sandbox", "user": "reload-model", "is_enterprise_install": False}
    return {"team_id": slack.team_id, "user_id": slack.bot_user_id, "bot_id": slack.bot_id, **names, **enterprise}


def _post_message(slack: Surfaces, args: JsonObject) -> JsonObject:
    channel = slack.writable(args["channel"])
    via: Via = "dm" if channel.person else "api"
    return _posted(slack.say(channel.id, args, via, user=channel.person, thread_ts=args.get("thread_ts")))


def _post_ephemeral(slack: Surfaces, args: JsonObject) -> JsonObject:
    channel = slack.writable(args["channel"])
    message = slack.say(channel.id, args, "api", user=args["user"], thread_ts=args.get("thread_ts"))
    return {"message_ts": message.ts}


def _update(slack: Surfaces, args: JsonObject) -> JsonObject:
    channel = slack.writable(args["channel"])
    return _posted(slack.edit(channel.id, args["ts"], args))


def _posted(message: Message) -> JsonObject:
    return {"channel": message.channel, "ts": message.ts, "message": message.json}


def _channel_info(slack: Surfaces, args: JsonObject) -> JsonObject:
    channel = slack.channels.get(args["channel"])
    if channel is None or (channel.private and not channel.bot_is_member):
        raise ApiError("channel_not_found")
    info = {"id": channel.id, "name": channel.name, "is_archived": channel.archived, "is_private": channel.private}
    return {"channel": info | {"is_member": channel.bot_is_member}}


def _user_info(slack: Surfaces, args: JsonObject) -> JsonObject:
    user_id = args["user"]
    if user_id not in slack.users:
        raise ApiError("user_not_found")
    return {"user": {"id": user_id, "name": slack.users[user_id], "deleted": user_id in slack.deactivated}}


_METHODS: dict[str, tuple[str, Callable[[Surfaces, JsonObject], JsonObject]]] = {
    "auth.test": ("", _auth_test),
    "chat.postMessage": ("chat:write", _post_message),
    "chat.postEphemeral": ("chat:write", _post_ephemeral),
    "chat.update": ("chat:write", _update),
    "conversations.open": ("im:write", lambda slack, args: {"channel": {"id": slack.dm(args["users"])}}),
    "conversations.info": ("channels:read", _channel_info),
    "users.info": ("users:read", _user_info),
    "views.open": ("", lambda slack, args: {"view": slack.open_modal(args["trigger_id"], args["view"]).view}),
    "views.update": ("", lambda slack, args: {"view": slack.update_modal(args["view_id"], args["view"]).view}),
    "views.publish": ("", lambda slack, args: {"view": slack.publish_home(args["user_id"], args["view"]).view}),
}
"""The bot scope that each wants, and what it does."""
