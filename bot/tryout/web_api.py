"""The methods of Slack's Web API that the bot calls, as functions of their arguments. Knows nothing of HTTP."""

from collections.abc import Callable

from bot.tryout.wire import JsonObject, text_of
from bot.tryout.workspace import Message, Refused, Via, Workspace

_SCOPE_OF = {
    "chat.postMessage": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.update": "chat:write",
    "conversations.open": "im:write",
    "conversations.info": "channels:read",
    "users.info": "users:read",
}


def call(workspace: Workspace, method: str, args: JsonObject) -> JsonObject:
    """Do what a method does, and return its answer.

    Raises Refused for a method that there is not, a scope that is missing, and whatever the method refuses.
    """
    run = _METHODS.get(method)
    if run is None:
        raise Refused("unknown_method")
    if _SCOPE_OF[method] not in workspace.scopes:
        raise Refused("missing_scope")
    return {"ok": True, **run(workspace, args)}


def _post_message(workspace: Workspace, args: JsonObject) -> JsonObject:
    channel = workspace.writable(text_of(args.get("channel")))
    thread_ts = text_of(args.get("thread_ts")) or None
    via: Via = "dm" if channel.person else "api"
    message = workspace.say(channel.id, args, via, user=channel.person, thread_ts=thread_ts)
    return {"channel": channel.id, "ts": message.ts, "message": _shown(message)}


def _update(workspace: Workspace, args: JsonObject) -> JsonObject:
    channel = workspace.writable(text_of(args.get("channel")))
    message = workspace.edit(channel.id, text_of(args.get("ts")), args)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": _shown(message)}


def _post_ephemeral(workspace: Workspace, args: JsonObject) -> JsonObject:
    channel = workspace.writable(text_of(args.get("channel")))
    message = workspace.say(channel.id, args, "ephemeral", user=text_of(args.get("user")))
    return {"message_ts": message.ts}


def _open(workspace: Workspace, args: JsonObject) -> JsonObject:
    return {"channel": {"id": workspace.dm(text_of(args.get("users")))}}


def _channel_info(workspace: Workspace, args: JsonObject) -> JsonObject:
    channel = workspace.channels.get(text_of(args.get("channel")))
    if channel is None or (channel.private and not channel.bot_is_member):
        raise Refused("channel_not_found")
    info: JsonObject = {"id": channel.id, "name": channel.name, "is_archived": channel.archived}
    return {"channel": info | {"is_private": channel.private, "is_member": channel.bot_is_member}}


def _user_info(workspace: Workspace, args: JsonObject) -> JsonObject:
    user_id = text_of(args.get("user"))
    if user_id not in workspace.users:
        raise Refused("user_not_found")
    return {
        "user": {"id": user_id, "name": workspace.users[user_id], "deleted": user_id in workspace.deactivated},
    }


def _shown(message: Message) -> JsonObject:
    shown: JsonObject = {"type": "message", "text": message.text, "ts": message.ts}
    shown["blocks"] = [*message.blocks]
    if message.thread_ts:
        shown["thread_ts"] = message.thread_ts
    return shown


_METHODS: dict[str, Callable[[Workspace, JsonObject], JsonObject]] = {
    "chat.postMessage": _post_message,
    "chat.postEphemeral": _post_ephemeral,
    "chat.update": _update,
    "conversations.open": _open,
    "conversations.info": _channel_info,
    "users.info": _user_info,
}
