"""The methods of Slack's Web API that the bot calls, as functions of their arguments. Knows nothing of HTTP."""

from collections.abc import Callable

from bot.sandbox.surfaces import Surfaces
from bot.sandbox.wire import JsonObject, text_of
from bot.sandbox.workspace import Message, Refused, Via

_SCOPE_OF = {
    "chat.postMessage": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.update": "chat:write",
    "conversations.open": "im:write",
    "conversations.info": "channels:read",
    "users.info": "users:read",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
}

_YES = (True, "true", "1")


def call(workspace: Surfaces, method: str, args: JsonObject) -> JsonObject:
    """Do what a method does, and return its answer.

    Raises Refused for a method that there is not, a scope that is missing, and whatever the method refuses.
    """
    run = _METHODS.get(method)
    if run is None:
        raise Refused("unknown_method")
    if method in _SCOPE_OF and _SCOPE_OF[method] not in workspace.scopes:
        raise Refused("missing_scope")
    return {"ok": True, **run(workspace, args)}


def _post_message(workspace: Surfaces, args: JsonObject) -> JsonObject:
    channel = workspace.writable(text_of(args.get("channel")))
    thread_ts = text_of(args.get("thread_ts")) or None
    via: Via = "dm" if channel.person else "api"
    message = workspace.say(channel.id, args, via, user=channel.person, thread_ts=thread_ts)
    return {"channel": channel.id, "ts": message.ts, "message": _shown(message)}


def _update(workspace: Surfaces, args: JsonObject) -> JsonObject:
    channel = workspace.writable(text_of(args.get("channel")))
    message = workspace.edit(channel.id, text_of(args.get("ts")), args)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": _shown(message)}


def _post_ephemeral(workspace: Surfaces, args: JsonObject) -> JsonObject:
    channel = workspace.writable(text_of(args.get("channel")))
    message = workspace.say(channel.id, args, "ephemeral", user=text_of(args.get("user")))
    return {"message_ts": message.ts}


def _open(workspace: Surfaces, args: JsonObject) -> JsonObject:
    return {"channel": {"id": workspace.dm(text_of(args.get("users")))}}


def _channel_info(workspace: Surfaces, args: JsonObject) -> JsonObject:
    channel = workspace.channels.get(text_of(args.get("channel")))
    if channel is None or (channel.private and not channel.bot_is_member):
        raise Refused("channel_not_found")
    info: JsonObject = {"id": channel.id, "name": channel.name, "is_archived": channel.archived}
    return {"channel": info | {"is_private": channel.private, "is_member": channel.bot_is_member}}


def _user_info(workspace: Surfaces, args: JsonObject) -> JsonObject:
    user_id = text_of(args.get("user"))
    if user_id not in workspace.users:
        raise Refused("user_not_found")
    return {
        "user": {"id": user_id, "name": workspace.users[user_id], "deleted": user_id in workspace.deactivated},
    }


def _user_groups(workspace: Surfaces, args: JsonObject) -> JsonObject:
    listed = [group for group in workspace.user_groups if _is_shown(workspace, group, args)]
    return {"usergroups": [_user_group(workspace, group, args) for group in listed]}


def _user_group(workspace: Surfaces, group_id: str, args: JsonObject) -> JsonObject:
    people = workspace.user_groups[group_id]
    group: JsonObject = {
        "id": group_id,
        "team_id": workspace.team_id,
        "is_usergroup": True,
        "name": group_id,
        "handle": group_id.lower(),
        "date_delete": 1 if group_id in workspace.disabled_groups else 0,
        "user_count": len(people),
    }
    return group | ({"users": [*people]} if args.get("include_users") in _YES else {})


def _people_of_group(workspace: Surfaces, args: JsonObject) -> JsonObject:
    group_id = text_of(args.get("usergroup"))
    if group_id not in workspace.user_groups or not _is_shown(workspace, group_id, args):
        raise Refused("no_such_subteam")
    return {"users": [*workspace.user_groups[group_id]]}


def _is_shown(workspace: Surfaces, group_id: str, args: JsonObject) -> bool:
    return group_id not in workspace.disabled_groups or args.get("include_disabled") in _YES


def _open_view(workspace: Surfaces, args: JsonObject) -> JsonObject:
    return {"view": workspace.open_modal(text_of(args.get("trigger_id")), args.get("view")).view}


def _update_view(workspace: Surfaces, args: JsonObject) -> JsonObject:
    modal = workspace.modal(text_of(args.get("view_id")), text_of(args.get("external_id")))
    if "hash" in args and args["hash"] != modal.view["hash"]:
        raise Refused("hash_conflict")
    workspace.update_modal(modal, args.get("view"))
    return {"view": modal.view}


def _publish_view(workspace: Surfaces, args: JsonObject) -> JsonObject:
    user, hash_ = text_of(args.get("user_id")), text_of(args.get("hash"))
    return {"view": workspace.publish_home(user, args.get("view"), hash_).view}


def _shown(message: Message) -> JsonObject:
    shown: JsonObject = {"type": "message", "text": message.text, "ts": message.ts}
    shown["blocks"] = [*message.blocks]
    if message.thread_ts:
        shown["thread_ts"] = message.thread_ts
    return shown


_METHODS: dict[str, Callable[[Surfaces, JsonObject], JsonObject]] = {
    "chat.postMessage": _post_message,
    "chat.postEphemeral": _post_ephemeral,
    "chat.update": _update,
    "conversations.open": _open,
    "conversations.info": _channel_info,
    "users.info": _user_info,
    "usergroups.list": _user_groups,
    "usergroups.users.list": _people_of_group,
    "views.open": _open_view,
    "views.update": _update_view,
    "views.publish": _publish_view,
}
