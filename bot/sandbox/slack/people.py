"""What people do: invoke a command, press a button, fill in a modal, use a shortcut, open the Home tab.

The payloads are those of https://docs.slack.dev/reference/interaction-payloads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.sandbox.slack.blocks import Button, Field, Option, checked_options, identified
from bot.sandbox.slack.delivery import Ack, Delivery
from bot.sandbox.slack.surfaces import Modal, View
from bot.sandbox.slack.workspace import Message
from bot.sandbox.wire import ApiError, JsonObject

_DOMAIN = "sandbox"

_MIN_QUERY_LENGTH = 3
"""https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element#external_select"""


class People(Delivery):
    """A workspace with people in it. `overrides` replace what Slack would send at the top level of a payload."""

    async def command(
        self,
        text: str,
        *,
        user: str = "U0ADA",
        channel: str = "C0MODELS",
        request_url: str | None = None,
        **fields: str,
    ) -> Ack:
        """Invoke a slash command. https://docs.slack.dev/interactivity/implementing-slash-commands.

        `fields` replace or add to what Slack sends; with the `trigger_id` and `response_url` of an earlier
        ack, it is the same invocation again.
        """
        form = {"token": "deprecated", "command": "/reload-model", "text": text, "api_app_id": self.app_id}
        form |= {"team_id": self.team_id, "team_domain": _DOMAIN, "is_enterprise_install": "false"}
        form |= {"enterprise_id": self.enterprise_id} if self.enterprise_id else {}
        form |= {"channel_id": channel, "channel_name": self._channel_name(channel)}
        form |= {"user_id": user, "user_name": self.users.get(user, user.lower())} | fields
        form["trigger_id"] = self.new_trigger(user, channel, fields.get("trigger_id", ""))
        form.setdefault("response_url", self.new_response_url(channel, user))
        ack = await self.deliver("slash_commands", form, request_url=request_url)
        if ack.error or not (ack.text or ack.body.get("blocks")):
            return ack
        try:
            message = self.say(channel, ack.body, "ack", user=user if ack.response_type == "ephemeral" else None)
        except ApiError as refused:
            return replace(ack, error=str(refused))
        return replace(ack, message=message)

    async def press(self, source: Message | View, button: str | Button, *, user: str, **overrides: object) -> Ack:
        """Press a button of a message or a view, or the first with this text. Raises LookupError."""
        payload = self._source("block_actions", user) | {
            "trigger_id": self.new_trigger(user, source.channel),
            "actions": [self._action(source.buttons, button)],
        }
        if isinstance(source, Message):
            payload |= self._pressed(source, user)
        else:
            payload |= {"container": {"type": "view", "view_id": source.id}, "view": source.view}
        return await self.deliver("interactive", payload | overrides)

    def _pressed(self, message: Message, user: str) -> JsonObject:
        """The message below which a button was pressed."""
        ephemeral = message.user is not None and message.via != "dm"
        container = {"type": "message", "message_ts": message.ts, "channel_id": message.channel}
        container |= {"thread_ts": message.thread_ts} if message.thread_ts else {}
        payload = {
            "container": container | {"is_ephemeral": ephemeral},
            "channel": {"id": message.channel, "name": self._channel_name(message.channel)},
            "state": {"values": {}},
            "response_url": self.new_response_url(message.channel, user, kind="actions"),
        }
        if ephemeral:  # Slack keeps the content of ephemeral messages to itself
            return payload
        author = {"user": self.bot_user_id, "bot_id": self.bot_id, "app_id": self.app_id, "team": self.team_id}
        return payload | {"message": message.json | author | {"blocks": identified(message.blocks)}}

    async def shortcut(self, callback_id: str, *, user: str, channel: str = "", **overrides: object) -> Ack:
        """Use a global shortcut. `channel` is where the person is, of which Slack tells the app nothing."""
        trigger_id, ts = self.new_trigger(user, channel), self.new_ts()
        payload = {"callback_id": callback_id, "trigger_id": trigger_id, "action_ts": ts}
        return await self.deliver("interactive", self._source("shortcut", user) | payload | overrides)

    async def open_home(self, user: str) -> Ack:
        """Open the Home tab. https://docs.slack.dev/reference/events/app_home_opened."""
        event = {"type": "app_home_opened", "user": user, "channel": self.dm(user), "tab": "home"}
        view = {"view": self.homes[user].view} if user in self.homes else {}
        return await self.send_event(event | {"event_ts": self.new_ts()} | view)

    async def mention(
        self, text: str, *, user: str = "U0ADA", channel: str = "C0MODELS", thread_ts: str = "", **overrides: object
    ) -> Ack:
        """Write a message that begins with a mention of the bot, or holds one. `overrides` are of the whole event.

        https://docs.slack.dev/reference/events/app_mention
        """
        written = text if f"<@{self.bot_user_id}" in text else f"<@{self.bot_user_id}> {text}"
        return await self.send_event(self._written("app_mention", written, user, channel, thread_ts), **overrides)

    async def write(self, text: str, *, user: str = "U0ADA", thread_ts: str = "", **overrides: object) -> Ack:
        """Write to the bot in a direct message. https://docs.slack.dev/reference/events/message.im."""
        event = self._written("message", text, user, self.dm(user), thread_ts) | {"channel_type": "im"}
        return await self.send_event(event, **overrides)

    def _written(self, type_: str, text: str, user: str, channel: str, thread_ts: str) -> JsonObject:
        ts = self.new_ts()
        self.threads[channel] = thread_ts or ts
        event = {"type": type_, "user": user, "text": text, "ts": ts, "channel": channel, "event_ts": ts}
        event |= {"team": self.user_teams.get(user, self.team_id)}
        return event | ({"thread_ts": thread_ts} if thread_ts else {})

    async def suggest(self, modal: Modal, query: str, *, user: str, **overrides: object) -> list[Option]:
        """Type into the typeahead of a modal, and return what it offers. Raises ApiError for what Slack won't show."""
        field = next(each for each in modal.fields if each.kind == "external_select")
        if len(query) < field.element.get("min_query_length", _MIN_QUERY_LENGTH):
            return []
        container = {"type": "view", "view_id": modal.id}
        typed = {"action_id": field.action_id, "block_id": field.block_id, "value": query}
        payload = self._source("block_suggestion", user) | typed | {"container": container, "view": modal.view}
        ack = await self.deliver("interactive", payload | overrides)
        if ack.error:
            raise ApiError(ack.error)
        return checked_options(ack.body)

    async def submit(
        self, modal: Modal, values: Mapping[str, str] | None = None, *, user: str, **overrides: object
    ) -> Ack:
        """Submit a modal; then do what the app answers.

        `values` are by a field's action_id: text, the value of an option, a channel's id, or people's with spaces
        between; the rest is as filled in. Raises LookupError for a field that is empty and must not be.
        """
        state: dict[str, JsonObject] = {}
        response_urls = []
        for field in modal.fields:
            value = (values or {}).get(field.action_id, modal.value(field))
            if not field.optional and not value:
                raise LookupError(f"{field.label} must be filled in.")
            state.setdefault(field.block_id, {})[field.action_id] = _answer(field, value)
            if value and field.element.get("response_url_enabled"):
                ids = {"block_id": field.block_id, "action_id": field.action_id, "channel_id": value}
                response_urls.append(ids | {"response_url": self.new_response_url(value, user, kind="app")})
        payload = self._source("view_submission", user) | {
            "trigger_id": self.new_trigger(user, modal.channel),
            "view": modal.view | {"state": {"values": state}},
            "response_urls": response_urls,
        }
        ack = await self.deliver("interactive", payload | overrides)
        try:
            if not ack.error:
                self._carry_out(modal, ack.body)
        except ApiError as refused:
            return replace(ack, error=str(refused))
        return ack

    def _carry_out(self, modal: Modal, answer: JsonObject) -> None:
        """Do what the app answers to a submission: https://docs.slack.dev/surfaces/modals#response_actions."""
        labels = {field.block_id: field.label for field in modal.fields}
        match answer:
            case {"response_action": "errors", "errors": dict(errors)} if errors.keys() <= labels.keys():
                modal.errors = {labels[block_id]: words for block_id, words in errors.items()}
            case {"response_action": "update", "view": view}:
                self.update_modal(modal.id, view)
                return
            case {"response_action": _}:
                raise ApiError("invalid_response_action")
            case _:
                modal.open = False
        self._modal_changed(modal)

    def _source(self, type_: str, user: str) -> JsonObject:
        """Make what every interaction begins with: who did it, and where the app is installed."""
        name, team = self.users.get(user, user.lower()), {"id": self.team_id, "domain": _DOMAIN}
        enterprise = {"id": self.enterprise_id, "name": _DOMAIN} if self.enterprise_id else None
        if self.enterprise_id:
            team |= {"enterprise_id": self.enterprise_id, "enterprise_name": _DOMAIN}
        return {
            "type": type_,
            "user": {"id": user, "username": name, "name": name, "team_id": self.user_teams.get(user, self.team_id)},
            "api_app_id": self.app_id,
            "token": "deprecated",
            "team": team,
            "enterprise": enterprise,
            "is_enterprise_install": False,
        }

    def _action(self, buttons: Sequence[Button], wanted: str | Button) -> JsonObject:
        button = next((each for each in buttons if wanted in (each, each.text)), None)
        if button is None:
            raise LookupError(f"There is no button {wanted}.")
        text = {"type": "plain_text", "text": button.text, "emoji": True}
        ids = {"type": "button", "action_id": button.action_id, "block_id": button.block_id}
        value = {"value": button.value} if button.value else {}
        return ids | value | {"text": text, "action_ts": self.new_ts()}

    def _channel_name(self, channel_id: str) -> str:
        """Name a channel as Slack does in an invocation, which keeps private names to itself."""
        channel = self.channels.get(channel_id)
        if channel is not None and not channel.private:
            return channel.name
        return "directmessage" if channel_id.startswith("D") else "privategroup"


def _answer(field: Field, value: str) -> JsonObject:
    """What a field holds, as Slack sends it."""
    if field.kind == "external_select":
        option = {"text": {"type": "plain_text", "text": value, "emoji": True}, "value": value}
        return {"type": field.kind, "selected_option": option if value else None}
    if field.kind == "multi_users_select":
        return {"type": field.kind, "selected_users": value.split()}
    name = "value" if field.kind == "plain_text_input" else "selected_conversation"
    return {"type": field.kind, name: value or None}
