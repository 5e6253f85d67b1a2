"""What people do: invoke a command, press a button, fill in a modal, open the Home tab. Knows nothing of sockets.

The payloads are those of https://docs.slack.dev/reference/interaction-payloads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bot.sandbox import block_kit
from bot.sandbox.block_kit import Button, Field, Option
from bot.sandbox.delivery import Ack, Delivery
from bot.sandbox.surfaces import Home, Modal, View
from bot.sandbox.wire import JsonObject, JsonValue, text_of
from bot.sandbox.workspace import Message, Refused

_DOMAIN = "sandbox"

# https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element#external_select
_MIN_QUERY_LENGTH = 3

# What a select of ids calls its answer, and the answer that it begins with.
_CHOSEN = {
    "conversations_select": ("selected_conversation", "initial_conversation"),
    "channels_select": ("selected_channel", "initial_channel"),
    "users_select": ("selected_user", "initial_user"),
}


class People(Delivery):
    """A workspace with people in it. Each act returns what the person sees first."""

    async def command(
        self,
        text: str,
        *,
        user: str = "U0ADA",
        channel: str = "C0MODELS",
        command: str = "/reload-model",
        request_url: str | None = None,
        **fields: str,
    ) -> Ack:
        """Invoke a slash command, and return what the person sees first.

        `fields` replace or add to what Slack sends; with the `trigger_id` and `response_url` of an earlier
        ack, it is the same invocation again. https://docs.slack.dev/interactivity/implementing-slash-commands
        """
        form = self._invocation(text, user, channel, command) | fields
        form["trigger_id"] = self.new_trigger(user, channel, fields.get("trigger_id"))
        if "response_url" not in form:
            form["response_url"] = self.new_response_url(channel, user)
        ack = await self._deliver("slash_commands", {**form}, request_url)
        if ack.error or not (ack.text or ack.blocks):
            return ack
        try:
            said = self.say(channel, ack.body, "ack", user=None if ack.response_type == "in_channel" else user)
        except Refused as refused:
            return replace(ack, error=str(refused))
        return replace(ack, message=said)

    async def press(
        self,
        message: Message | Ack,
        text: str,
        *,
        user: str | JsonObject,
        user_team: str | None = None,
        request_url: str | None = None,
        **overrides: JsonValue,
    ) -> Ack:
        """Press the button with this text in a message.

        `user_team` is the workspace of somebody from elsewhere. `overrides`, and a `user` that is an object,
        replace what Slack sends at the top level; with an earlier `trigger_id`, it is the same press again.
        Raises LookupError where there is no such button.
        """
        pressed = message.message if isinstance(message, Ack) else message
        button = _button(pressed.buttons if pressed else [], text)
        assert pressed is not None  # noqa: S101 - where there is a button there is a message
        who = user if isinstance(user, str) else text_of(user.get("id"))
        payload: JsonObject = {
            **self._source("block_actions", who, user_team),
            "trigger_id": self._trigger_id(who, pressed.channel, overrides),
            "container": {
                "type": "message",
                "message_ts": pressed.ts,
                "channel_id": pressed.channel,
                "is_ephemeral": pressed.is_ephemeral,
            },
            "channel": {"id": pressed.channel, "name": self._channel_name(pressed.channel)},
            "state": {"values": {}},
            "actions": [self._action(button)],
            # Slack keeps the content of ephemeral messages to itself.
            **({} if pressed.is_ephemeral else {"message": self._shown(pressed)}),
            **overrides,
        }
        if isinstance(user, dict):
            payload["user"] = user
        if "response_url" not in overrides:
            payload["response_url"] = self.new_response_url(pressed.channel, who, kind="actions", original=pressed)
        return await self.interaction(payload, request_url=request_url)

    async def press_in(self, view: Modal | Home, text: str, *, user: str, **overrides: JsonValue) -> Ack:
        """Press the button with this text in a view. Raises LookupError where there is no such button."""
        button = _button(view.buttons, text)
        payload: JsonObject = {
            **self._source("block_actions", user),
            "trigger_id": self._trigger_id(user, _where(view), overrides),
            "container": {"type": "view", "view_id": view.id},
            "view": view.view,
            "actions": [self._action(button)],
            **overrides,
        }
        return await self.interaction(payload)

    async def shortcut(self, callback_id: str, *, user: str, channel: str = "", **overrides: JsonValue) -> Ack:
        """Use a global shortcut. `channel` is where the person is, of which Slack tells the app nothing."""
        payload: JsonObject = {
            **self._source("shortcut", user),
            "user": {"id": user, "username": self._name(user), "team_id": self.team_id},
            "callback_id": callback_id,
            "trigger_id": self._trigger_id(user, channel, overrides),
            "action_ts": self._new_ts(),
            **overrides,
        }
        del payload["api_app_id"]
        return await self.interaction(payload)

    async def open_home(self, user: str) -> None:
        """Open the Home tab, or without one the Messages tab.

        An event without an ack comes again at once; Slack's later attempts, after one and five minutes, do not come.
        """
        event: JsonObject = {
            "type": "app_home_opened",
            "user": user,
            "channel": self.dm(user),
            "tab": "home" if self.home_tab else "messages",
            "event_ts": self._new_ts(),
        }
        if self.home_tab and user in self.homes:
            event["view"] = self.homes[user]
        event_id = self.new_event_id()
        ack = await self.send_event(event, event_id=event_id)
        if ack.error:
            reason = "http_timeout" if ack.timed_out else "http_error" if ack.status else "connection_failed"
            await self.send_event(event, event_id=event_id, retry=1, reason=reason)

    # Views

    async def suggest(self, view: Modal | Home, query: str, *, user: str, field: str = "") -> list[Option]:
        """Type into the typeahead of a view, and return what it offers.

        `field` is its label or action_id, where there are several. Raises LookupError where there is none, and
        Refused where the app gives no answer that Slack would show.
        """
        found = _field([each for each in view.fields if each.kind == "external_select"], field)
        least = found.element.get("min_query_length", _MIN_QUERY_LENGTH)
        if isinstance(least, int) and len(query) < least:
            return []
        payload: JsonObject = {
            **self._source("block_suggestion", user),
            "container": {"type": "view", "view_id": view.id},
            "action_id": found.action_id,
            "block_id": found.block_id,
            "value": query,
            "view": view.view,
        }
        ack = await self.interaction(payload, request_url=self.options_url)
        options = _offered(ack)
        view.offered |= {option.value: option for option in options}
        return options

    async def submit(
        self, modal: Modal, values: Mapping[str, str] | None = None, *, user: str, **overrides: JsonValue
    ) -> Ack:
        """Fill in a modal and submit it; then do what the app answers.

        `values` are by a field's label or action_id: an option's value for selects, an id for selects of channels
        and people, text for text inputs. Fields that it does not name keep what they begin with. Raises LookupError
        for a field or an option that there is not, and for a field that is left empty and must not be: as in
        Slack, that does not reach the app.
        """
        answers = self._filled_in(modal, values or {})
        payload: JsonObject = {
            **self._source("view_submission", user),
            "trigger_id": self._trigger_id(user, modal.channel, overrides),
            "view": modal.view | {"state": {"values": _state(answers)}},
            "response_urls": [*self._response_urls_of(answers, user)],
            **overrides,
        }
        ack = await self.interaction(payload)
        if ack.error:
            return ack
        try:
            self._carry_out(modal, ack.body)
        except Refused as refused:
            return replace(ack, error=str(refused))
        return ack

    async def close_modal(self, modal: Modal, *, user: str, cleared: bool = False) -> Ack | None:
        """Close a modal, or with `cleared` all that it lies on; return the ack of an app that asked to be told."""
        closed = self.modals_of(user) if cleared else [modal]
        self.take_away(*closed)
        if modal.view["notify_on_close"] is not True:
            return None
        source = self._source("view_closed", user)
        return await self.interaction({**source, "view": modal.view, "is_cleared": cleared})

    def _carry_out(self, modal: Modal, answer: JsonObject) -> None:
        """Do what the app answers to a submission. Raises Refused for what Slack would not do.

        https://docs.slack.dev/surfaces/modals#response_actions
        """
        modal.errors = {}
        match answer.get("response_action"):
            case "errors":
                modal.errors = _labelled(modal, answer.get("errors"))
            case "update":
                self.update_modal(modal, answer.get("view"))
            case "push":
                self.push_modal(modal, answer.get("view"))
            case "clear":
                self.take_away(*self.modals_of(modal.user))
            case None if not any(answer.values()):
                self.take_away(modal)
            case _:
                raise Refused("invalid_response_action")

    def _filled_in(self, modal: Modal, values: Mapping[str, str]) -> list[tuple[Field, JsonObject]]:
        for name in values:
            _field(modal.fields, name)
        return [(each, self._answer(modal, each, values)) for each in modal.fields]

    def _answer(self, modal: Modal, field: Field, values: Mapping[str, str]) -> JsonObject:
        given = values.get(field.action_id, values.get(field.label))
        if field.kind in _CHOSEN:
            name, initial = _CHOSEN[field.kind]
            current = modal.channel if field.element.get("default_to_current_conversation") is True else ""
            begun = text_of(field.element.get(initial)) or (current if self._listed(field, current) else "")
            answer: JsonValue = (begun if given is None else given) or None
            if given and not self._listed(field, given):
                raise LookupError(f"{given} cannot be chosen in {field.label!r}: {field.element.get('filter')}")
        elif field.kind == "plain_text_input":
            name = "value"
            answer = (text_of(field.element.get("initial_value")) if given is None else given) or None
        else:
            name = "selected_option"
            answer = field.element.get("initial_option") if given is None else _option(modal, field, given)
        if answer is None and not field.optional:
            raise LookupError(f"{field.label!r} must be filled in")
        return {"type": field.kind, name: answer}

    def _listed(self, field: Field, channel: str) -> bool:
        """Whether a select of conversations lists this one. https://docs.slack.dev/reference/block-kit/composition-objects/conversation-filter-object."""
        chosen = field.element.get("filter")
        include = chosen.get("include") if isinstance(chosen, dict) else None
        known = self.channels.get(channel)
        kind = "im" if channel.startswith("D") else "private" if known is not None and known.private else "public"
        return not isinstance(include, list) or kind in include

    def _response_urls_of(self, answers: list[tuple[Field, JsonObject]], user: str) -> Iterator[JsonObject]:
        for field, answer in answers:
            channel = text_of(answer.get(_CHOSEN.get(field.kind, ("", ""))[0]))
            if field.element.get("response_url_enabled") is True and channel:
                yield {
                    "block_id": field.block_id,
                    "action_id": field.action_id,
                    "channel_id": channel,
                    "response_url": self.new_response_url(channel, user, kind="app"),
                }

    # Parts of payloads

    def _invocation(self, text: str, user: str, channel: str, command: str) -> dict[str, str]:
        fields = {
            "token": "deprecated",
            "team_id": self.team_id,
            "team_domain": _DOMAIN,
            "channel_id": channel,
            "channel_name": self._channel_name(channel),
            "user_id": user,
            "user_name": self._name(user),
            "command": command,
            "text": text,
            "api_app_id": self.app_id,
            "is_enterprise_install": "false",
        }
        return fields | ({"enterprise_id": self.enterprise_id} if self.enterprise_id else {})

    def _source(self, type_: str, user: str, user_team: str | None = None) -> JsonObject:
        """Make what every interaction begins with: who did it, and where the app is installed."""
        name = self._name(user)
        team: JsonObject = {"id": self.team_id, "domain": _DOMAIN}
        enterprise: JsonValue = None
        if self.enterprise_id:
            team |= {"enterprise_id": self.enterprise_id, "enterprise_name": _DOMAIN}
            enterprise = {"id": self.enterprise_id, "name": _DOMAIN}
        return {
            "type": type_,
            "user": {"id": user, "username": name, "name": name, "team_id": user_team or self.team_id},
            "api_app_id": self.app_id,
            "token": "deprecated",
            "team": team,
            "enterprise": enterprise,
            "is_enterprise_install": False,
        }

    def _trigger_id(self, user: str, channel: str, overrides: Mapping[str, JsonValue]) -> str:
        return self.new_trigger(user, channel, text_of(overrides.get("trigger_id")) or None)

    def _action(self, button: Button) -> JsonObject:
        action: JsonObject = {
            "type": "button",
            "action_id": button.action_id,
            "block_id": button.block_id,
            "text": {"type": "plain_text", "text": button.text, "emoji": True},
            "action_ts": self._new_ts(),
        }
        optional = {"value": button.value, "style": button.style}
        return action | {name: said for name, said in optional.items() if said}

    def _shown(self, message: Message) -> JsonObject:
        shown: JsonObject = {
            "type": "message",
            "text": message.text,
            "ts": message.ts,
            "user": self.bot_user_id,
            "bot_id": self.bot_id,
            "app_id": self.app_id,
            "team": self.team_id,
            "blocks": [*block_kit.identified(message.blocks)],
        }
        return shown | ({"thread_ts": message.thread_ts} if message.thread_ts else {})

    def _name(self, user: str) -> str:
        return self.users.get(user, user.lower())

    def _channel_name(self, channel_id: str) -> str:
        """Name a channel as Slack does in an invocation, which keeps private names to itself."""
        if channel_id.startswith("D"):
            return "directmessage"
        channel = self.channels.get(channel_id)
        return channel.name if channel is not None and not channel.private else "privategroup"


def _where(view: View) -> str:
    return view.channel if isinstance(view, Modal) else ""


def _button(buttons: list[Button], text: str) -> Button:
    found = next((button for button in buttons if button.text == text), None)
    if found is None:
        raise LookupError(f"there is no button {text!r}: there are {[button.text for button in buttons]}")
    return found


def _field(fields: list[Field], name: str) -> Field:
    """Find a field by its label or action_id; the first one, where the name is empty."""
    found = next((each for each in fields if name in ("", each.label, each.action_id)), None)
    if found is None:
        raise LookupError(f"there is no field {name!r}: there are {[each.label for each in fields]}")
    return found


def _option(modal: Modal, field: Field, value: str) -> JsonValue:
    """Choose an option by its value: of those that are listed, or of a typeahead anything, as its offers change."""
    listed = {option.value: option for option in field.options}
    if field.kind == "static_select" and value not in listed:
        raise LookupError(f"{value!r} cannot be chosen in {field.label!r}: there are {[*listed]}")
    return (listed.get(value) or modal.offered.get(value) or Option(value, value)).json


def _offered(ack: Ack) -> list[Option]:
    """Read the answer to a typeahead. Raises Refused for one that Slack would not show."""
    if ack.error:
        raise Refused(ack.error)
    groups = block_kit.objects(ack.body.get("option_groups"))
    listed = [each.get("options") for each in groups] if groups else [ack.body.get("options")]
    # An empty list is an answer too: nothing is found.
    faults = [fault for options in listed if options != [] for fault in block_kit.faults_of_options(options)]
    if faults:
        raise Refused("invalid_arguments", tuple(faults))
    return [option for options in listed for option in block_kit.read_options(options)]


def _state(answers: list[tuple[Field, JsonObject]]) -> JsonObject:
    values: dict[str, dict[str, JsonValue]] = {}
    for field, answer in answers:
        values.setdefault(field.block_id, {})[field.action_id] = answer
    return {block_id: {**actions} for block_id, actions in values.items()}


def _labelled(modal: Modal, errors: JsonValue) -> dict[str, str]:
    """Read errors by the label of their fields. Raises Refused for a block that is no input of the modal."""
    labels = {field.block_id: field.label for field in modal.fields}
    if not isinstance(errors, dict) or not errors or not errors.keys() <= labels.keys():
        raise Refused("invalid_response_action", (f"[ERROR] errors must be of {[*labels]}, but are {errors}",))
    return {labels[block_id]: text_of(words) for block_id, words in errors.items()}
