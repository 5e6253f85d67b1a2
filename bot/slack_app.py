"""Bolt listeners: Slack's payloads → calls of the desk → the ack. No decisions of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from logging import Logger

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot import messages, payload
from bot.allowlist import Allowlist
from bot.command import Command, ReloadModel, Word, parse
from bot.desk import Desk
from bot.errors import Declined, NotACommand, NotListed, StoreAway, Stumbled
from bot.metrics import Metrics
from bot.payload import SlashCommand
from bot.store import Ask, Note
from bot.text import harmless

_WHAT_LIMIT = 128

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listener:
    """Answers an invocation: every path ends in a text for the person, and in one line of the log."""

    allowlist: Allowlist
    desk: Desk
    may_respond: Callable[[str], bool]
    """Whether a response_url is of a host that messages may be sent to."""
    metrics: Metrics = field(default_factory=Metrics)

    async def answer(self, invocation: SlashCommand) -> str:
        """Do what the command asks for and return what its person is told, privately."""
        try:
            return await self._answer(invocation)
        except Declined as declined:
            self._audit(invocation, declined.audit, rule=declined.rule)
            return declined.told
        except StoreAway:
            self._audit(invocation, NotListed.audit)
            return NotListed().told
        except Exception:
            log.exception("command_stumbled", user=invocation.person.user_id)
            self.metrics.command(Stumbled.audit)
            self._note(invocation, Stumbled.audit)
            return Stumbled().told

    async def _answer(self, invocation: SlashCommand) -> str:
        command = _parsed(invocation.text)
        if command is Word.HELP:
            self._audit(invocation, command.value)
            return messages.HELP
        rule = self.allowlist.check(invocation.person)
        if isinstance(command, NotACommand):
            raise command
        if isinstance(command, ReloadModel):
            return await self._reload(invocation, command, rule)
        listed = await self._list(command)
        self._audit(invocation, command.value, rule=rule)
        return listed

    async def _reload(self, invocation: SlashCommand, command: ReloadModel, rule: str) -> str:
        person, seconds = invocation.person, self.desk.reload_seconds
        url = invocation.response_url if self.may_respond(invocation.response_url) else ""
        asked = await self.desk.ask(
            Ask(
                invocation.trigger_id,
                person.user_id,
                person.channel_id,
                command.model_id,
                url,
                team_id=person.team_id,
                rule=rule,
            )
        )
        self._audit(invocation, asked.outcome, rule=rule, reload=asked.reload.id, model=command.model_id)
        if asked.joined:
            return messages.joined(asked.reload, asked.first, person.user_id, person.channel_id, seconds)
        return messages.reloading(asked.reload, seconds)

    async def _list(self, command: Command) -> str:
        if command is Word.STATUS:
            entries, count = await self.desk.in_flight()
            return messages.in_flight(entries, count, self.desk.reload_seconds).text
        return messages.history(await self.desk.history()).text

    def _audit(self, invocation: SlashCommand, outcome: str, **more: str) -> None:
        self.metrics.command(outcome)
        person = invocation.person
        log.info("command", outcome=outcome, user=person.user_id, team=person.team_id, where=person.channel_id, **more)
        if "reload" not in more:  # else the store has kept it, together with the reload
            self._note(invocation, outcome, more.get("rule", ""))

    def _note(self, invocation: SlashCommand, outcome: str, rule: str = "") -> None:
        person, what = invocation.person, harmless(invocation.text.strip(), _WHAT_LIMIT)
        self.desk.note(Note(person.user_id, person.team_id, person.channel_id, what, outcome, rule))


def _parsed(text: str) -> Command | NotACommand:
    """What the text means, where the fault of one that means nothing is told only to those who may ask."""
    try:
        return parse(text)
    except NotACommand as slip:
        return slip


def build(slack: AsyncWebClient, listener: Listener, bolt_log: Logger) -> AsyncApp:
    """The Bolt app. Signatures and shapes have been checked before a request gets here (bot.web, bot.socket_mode).

    process_before_response spares the 10 ms poll for the ack: the listener does its little work and returns.
    https://github.com/slackapi/bolt-python/blob/main/slack_bolt/listener/asyncio_runner.py
    """

    async def authorize() -> AuthorizeResult:
        home = listener.allowlist.home
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

    @app.command(payload.COMMAND)
    async def reload_model(ack: AsyncAck, body: Mapping[str, object]) -> None:
        text = await listener.answer(payload.slash_command(body))
        await ack(text=text, response_type="ephemeral")

    return app


async def dispatch(app: AsyncApp, body: Mapping[str, object]) -> BoltResponse:
    """Give Bolt a payload that has been read already, in whichever mode it came."""
    return await app.async_dispatch(AsyncBoltRequest(mode="socket_mode", body=dict(body)))
