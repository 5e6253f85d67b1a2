"""What each thing that Slack sends leads to: a person's wish → the allowlist → the desk → what they are told.

Every path ends in words for the person, and in one line of the log. Whatever calls Slack happens after the ack.
"""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from bot.core.access import Allowlist, Person
from bot.core.background import BackgroundTasks
from bot.core.command import Command, Pick, ReloadModel, Word, parse, read_id
from bot.core.models import IN_FLIGHT
from bot.core.text import harmless
from bot.errors import (
    DatabaseUnavailable,
    Declined,
    InternalError,
    NotACommand,
    NotListed,
    ReloadIsOver,
    SlackError,
    WrongChannel,
)
from bot.handlers.home_tab import HomeTabs
from bot.modelslab.catalog import Catalog
from bot.ops.metrics import Metrics
from bot.slack.client import SlackClient
from bot.slack.payloads import Press, Shortcut, SlackRequest, SlashCommand, Submission, Typing
from bot.storage.history import Note
from bot.storage.requests import Request, Requested
from bot.storage.store import Store
from bot.ui import messages, views
from bot.ui.buttons import Action
from bot.ui.messages import Message

_WHAT_LIMIT = 128

Ack = Mapping[str, object]
"""What the ack carries, as Slack takes it for this kind of request."""

log = structlog.get_logger(__name__)


class Listener:
    """Answers what people do in Slack."""

    def __init__(
        self,
        allowlist: Allowlist,
        store: Store,
        reload_seconds: float,
        slack: SlackClient,
        catalogue: Catalog,
        homes: HomeTabs,
        may_respond: Callable[[str], bool],
        metrics: Metrics,
    ) -> None:
        """may_respond tells whether a response_url is of a host that messages may be sent to."""
        self._allowlist = allowlist
        self._store = store
        self._reload_seconds = reload_seconds
        self._slack = slack
        self._catalogue = catalogue
        self._homes = homes
        self._may_respond = may_respond
        self._metrics = metrics
        self._kept = BackgroundTasks()

    async def stop(self) -> None:
        """Break off what is being told beside all else: nothing of that was promised."""
        await self._kept.stop()

    async def answer(self, request: SlackRequest) -> Ack:
        """Do what somebody asks for; returns what the ack carries."""
        match request:
            case SlashCommand():
                return await self._command(request)
            case Press():
                return await self._press(request)
            case Submission():
                return await self._submission(request)
            case Typing():
                return await self._typing(request)
            case Shortcut():
                return await self._shortcut(request)
        self._homes.look(request.person)
        return {}

    async def _told(self, person: Person, what: str, act: Callable[[], Awaitable[Message | None]]) -> Message | None:
        """What somebody is told of what they did, whatever comes of it: nothing for None."""
        try:
            return await act()
        except Declined as declined:
            self._audit(person, what, declined.audit, rule=declined.rule or self._let_in_by(person))
            return Message(declined.told)
        except DatabaseUnavailable:
            self._audit(person, what, NotListed.audit, rule=self._let_in_by(person))
            return Message(NotListed().told)
        except Exception:
            log.exception("command_stumbled", user=person.user_id)
            self._metrics.command(InternalError.audit)
            self._note(person, what, InternalError.audit)
            return Message(InternalError().told)

    def _let_in_by(self, person: Person) -> str:
        """The rule that lets somebody in, for the audit of what came to nothing all the same."""
        try:
            return self._allowlist.who(person)
        except Declined:
            return ""

    # --- the slash command --------------------------------------------------------------------------

    async def _command(self, invocation: SlashCommand) -> Ack:
        person, text = invocation.person, invocation.text
        told = await self._told(person, text, lambda: self._carry_out(invocation))
        if told is None:
            return {}
        shown = {"blocks": told.blocks} if told.is_rich else {}
        return {"response_type": "ephemeral", "text": told.text, **shown}

    async def _carry_out(self, invocation: SlashCommand) -> Message | None:
        command, person = _parsed(invocation.text), invocation.person
        if command is Word.HELP:
            self._audit(person, invocation.text, command.value)
            return Message(messages.HELP)
        if isinstance(command, Pick):
            return self._pick_instead(invocation)
        rule = self._allowlist.check(person)
        if isinstance(command, NotACommand):
            raise command
        if isinstance(command, ReloadModel):
            ask = self._asking(person, command.model_id, rule, invocation.trigger_id, invocation.response_url)
            return self._begun(person, rule, await self._store.ask(ask))
        listed = await self._list(command, person.channel_id)
        self._audit(person, invocation.text, command.value, rule=rule)
        return listed

    def _pick_instead(self, invocation: SlashCommand) -> Message | None:
        """Open the picker for somebody who may use it; whoever may not is told that, and what there is."""
        person = invocation.person
        try:
            rule = self._allowlist.check(person)
        except Declined as declined:
            self._audit(person, "", declined.audit, rule=declined.rule)
            return Message(f"{messages.HELP}\n{declined.told}")
        self._audit(person, "", "picker", rule=rule)
        self._open_picker(invocation.trigger_id, person.channel_id, instead=self._trusted(invocation.response_url))
        return None

    async def _list(self, command: Command, channel_id: str) -> Message:
        if command is Word.STATUS:
            entries, count = await self._store.in_flight()
            return messages.in_flight(entries, count, self._reload_seconds, channel_id)
        return messages.history(await self._store.history(), self._reload_seconds, channel_id)

    # --- asking -------------------------------------------------------------------------------------

    def _asking(self, person: Person, model_id: str, rule: str, trigger_id: str, url: str, press: str = "") -> Request:
        return Request(
            f"{press}#{trigger_id}" if press else trigger_id,
            person.user_id,
            person.channel_id,
            model_id,
            self._trusted(url),
            team_id=person.team_id,
            rule=rule,
            button=press,
        )

    def _begun(self, person: Person, rule: str, asked: Requested, where: str = "here") -> Message:
        reload_, seconds = asked.reload, self._reload_seconds
        self._audit(person, "", asked.outcome, rule=rule, reload=reload_.id, model=reload_.model_id)
        if asked.joined:
            return Message(messages.joined(reload_, asked.first, person.user_id, person.channel_id, seconds, where))
        return Message(messages.reloading(reload_, seconds, where))

    # --- buttons ------------------------------------------------------------------------------------

    async def _press(self, press: Press) -> Ack:
        """Commit what the press asks for; then ack; then say so, privately: the message stays as it is."""
        what = f"[{press.action}] {press.of}".strip()
        told = await self._told(press.person, what, lambda: self._act(press, what))
        if told is not None and (url := self._trusted(press.response_url)):
            self._kept.start(self._tell(url, told))
        if not press.response_url:
            self._homes.look(press.person)
        return {}

    async def _act(self, press: Press, what: str) -> Message | None:
        person = press.person
        if press.action in (Action.PICK, Action.STOP_REMINDING):
            rule = self._allowlist.who(person)
            self._audit(person, what, press.action.value, rule=rule)
            if press.action is Action.STOP_REMINDING:
                await self._store.stop_reminding(person.user_id, press.of)
                return Message(messages.not_reminding(press.of))
            self._open_picker(press.trigger_id, model_id=press.of)
            return None
        rule = self._allowlist.check(person)
        if press.action is Action.REMIND:
            return await self._remind(press, what, rule)
        return await self._ask_by_press(press, rule)

    async def _ask_by_press(self, press: Press, rule: str) -> Message:
        person = press.person
        ask = self._asking(person, press.of, rule, press.trigger_id, press.response_url, press.button)
        asked = await (self._store.ask(ask) if press.action is Action.AGAIN else self._store.join(ask, press.of))
        if asked is None or asked.reload.state not in IN_FLIGHT:  # a double click may come when all is over
            raise ReloadIsOver
        return self._begun(person, rule, asked, _there(person))

    async def _remind(self, press: Press, what: str, rule: str) -> Message:
        person = press.person
        reminder = await self._store.remind(person.user_id, press.of, person.channel_id)
        if reminder is None:
            raise ReloadIsOver
        self._audit(person, what, press.action.value, rule=rule)
        return Message(messages.will_remind(reminder))

    # --- the picker ---------------------------------------------------------------------------------

    def _open_picker(self, trigger_id: str, channel_id: str = "", *, model_id: str = "", instead: str = "") -> None:
        """Open the modal beside all else: a trigger_id lasts 3 s, so it is not for a durable step.

        instead is the response_url by which help is given where the modal does not open.
        """
        self._catalogue.look()
        channel = channel_id or self._allowlist.first_channel
        self._kept.start(self._open(trigger_id, views.picker(channel, model_id), instead))

    async def _open(self, trigger_id: str, view: views.View, instead: str) -> None:
        try:
            await self._slack.call("views.open", trigger_id=trigger_id, view=view)
        except SlackError as failed:
            log.warning("picker_not_opened", code=failed.code)
            if instead:
                await self._tell(instead, Message(messages.HELP))

    async def _shortcut(self, shortcut: Shortcut) -> Ack:
        """Open the picker, or say in its place why not."""
        person = shortcut.person
        told = await self._told(person, "[shortcut]", lambda: self._by_shortcut(shortcut))
        if told is not None:
            self._kept.start(self._open(shortcut.trigger_id, views.told(told.text), ""))
        return {}

    async def _by_shortcut(self, shortcut: Shortcut) -> Message | None:
        rule = self._allowlist.who(shortcut.person)
        self._audit(shortcut.person, "[shortcut]", "picker", rule=rule)
        self._open_picker(shortcut.trigger_id)
        return None

    async def _submission(self, submission: Submission) -> Ack:
        """Commit what was picked, and say so in the modal; a slip is marked in its field."""
        person = submission.person
        field = views.TYPED if submission.typed.strip() else views.MODEL
        model_id = _model_id(submission.typed.strip() or submission.picked)
        if not model_id:
            return _slip(field, "This is no model id. Pick a model above, or type its id.")
        if not self._allowlist.is_open(person.channel_id):
            self._audit(person, model_id, WrongChannel.audit, rule=WrongChannel.rule)
            return _slip(views.WHERE, "Models are not reloaded in this channel. Pick another.")
        told = await self._told(person, model_id, lambda: self._submit(submission, model_id))
        return {"response_action": "update", "view": views.told(told.text)} if told else {}

    async def _submit(self, submission: Submission, model_id: str) -> Message:
        """A view is submitted once: its id stands for the invocation."""
        person = submission.person
        rule = self._allowlist.check(person)
        ask = self._asking(person, model_id, rule, submission.view_id, submission.response_url)
        return self._begun(person, rule, await self._store.ask(ask), _there(person))

    async def _typing(self, typing: Typing) -> Ack:
        """Suggest models to somebody who may reload them; what was typed is a suggestion too, if it could be an id."""
        try:
            self._allowlist.who(typing.person)
        except Declined:
            return {"options": []}
        found = await self._catalogue.matching(typing.query, views.OPTIONS_LIMIT - 1)
        typed = _model_id(typing.query)
        others = [id_ for id_ in found if id_ != typed]
        return {"options": [views.option(id_) for id_ in [*filter(None, [typed]), *others]]}

    # --- beside all else ----------------------------------------------------------------------------

    async def _tell(self, url: str, told: Message) -> None:
        """Say it privately: a comfort, of which the row that it tells of does not depend."""
        try:
            await self._slack.respond(url, response_type="ephemeral", text=told.text, blocks=told.blocks)
        except SlackError as failed:
            log.warning("answer_not_told", code=failed.code)

    def _trusted(self, url: str) -> str:
        return url if url and self._may_respond(url) else ""

    def _audit(self, person: Person, what: str, outcome: str, **more: str) -> None:
        self._metrics.command(outcome)
        log.info("command", outcome=outcome, user=person.user_id, team=person.team_id, where=person.channel_id, **more)
        if "reload" not in more:  # else the store has kept it, together with the reload
            self._note(person, what, outcome, more.get("rule", ""))

    def _note(self, person: Person, what: str, outcome: str, rule: str = "") -> None:
        what = harmless(what.strip(), _WHAT_LIMIT)
        self._store.note(Note(person.user_id, person.team_id, person.channel_id, what, outcome, rule))


def _parsed(text: str) -> Command | NotACommand:
    """What the text means, where the fault of one that means nothing is told only to those who may ask."""
    try:
        return parse(text)
    except NotACommand as slip:
        return slip


def _model_id(text: str) -> str:
    """The id that somebody picked or typed, or "" where it is none."""
    try:
        return read_id(text)
    except NotACommand:
        return ""


def _slip(field: str, fault: str) -> Ack:
    return {"response_action": "errors", "errors": {field: fault}}


def _there(person: Person) -> str:
    """Where somebody is mentioned who asked from elsewhere; a direct message's own name says nothing."""
    return "there" if person.channel_id.startswith("D") else f"in <#{person.channel_id}>"
