"""Checks of the two services: can they be reached, do they take tokens and key, do the ids exist.

Each is asked only what changes nothing: https://docs.slack.dev/reference/methods and https://docs.modelslab.com.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp

from bot.core.access import Home
from bot.errors import Failure, ModelsLabError, SlackError, SlackRetryableError
from bot.modelslab.client import ModelsLab
from bot.ops.doctor.result import CheckResult, clock, fault, in_time, unknown, well
from bot.ops.logging import Redactor
from bot.proxy import proxy_to
from bot.settings import CHANNEL, EVERYONE, PERSON, Settings
from bot.slack.client import TOKEN_FAULTS, BoundedResponse, SlackClient, translated
from bot.slack.manifest import GROUP_SCOPE, GROUP_SCOPES, SCOPES
from bot.slack.user_groups import GONE, METHOD, members_in
from bot.ui.reasons import FAILURES

SLACK, BOT_TOKEN, BOT_SCOPES, APP_TOKEN = "Slack", "bot token", "bot scopes", "app token"
SIGNING_SECRET = "signing secret"  # noqa: S105 - no secret
MODELSLAB, KEY, ACCOUNT, BALANCE = "ModelsLab", "ModelsLab key", "ModelsLab account", "ModelsLab balance"
PEOPLE, CHANNELS = "ALLOWED_USERS", "ALLOWED_CHANNELS"

ANSWER_SECONDS = 6.0
"""One answer of Slack's."""

LOOK_UP_SECONDS = 8.0
"""All ids together."""

_AT_ONCE = 8

_PEOPLE_SCOPES = ("users:read",)
_CHANNEL_SCOPES = ("channels:read", "groups:read", "im:read")

_CERTIFICATE = "mend {}, or name your own authority's certificate in SSL_CERT_FILE"
_NETWORK = "mend {}, or this machine's way there (name server, firewall, HTTPS_PROXY)"

_ADD_SCOPES = "on the app's page, OAuth & Permissions, and reinstall the app"
_NO_SCOPE = "missing_scope"

_Ask = Callable[[str], Awaitable[CheckResult]]


class Heard:
    """Keeps the headers of a session's answers, by the last part of their address, and when they came."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Mapping[str, str], float]] = {}

    def trace(self) -> aiohttp.TraceConfig:
        """To be given to the session."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._keep)
        return trace

    async def _keep(self, _: object, _context: SimpleNamespace, end: aiohttp.TraceRequestEndParams) -> None:
        self._kept[end.url.name] = (end.response.headers, time.time())

    def header(self, where: str, name: str) -> str | None:
        """A header of the last answer from there, or None."""
        headers, _ = self._kept.get(where, ({}, 0.0))
        return headers.get(name)

    def ahead(self, where: str) -> float | None:
        """How many seconds this machine's clock was ahead of the answer's Date, which is in whole ones."""
        _, at = self._kept.get(where, ({}, 0.0))
        try:
            return at - parsedate_to_datetime(self.header(where, "Date") or "").timestamp() - 0.5
        except (ValueError, OverflowError):
            return None


# --- Slack ------------------------------------------------------------------------------------------------


class SlackChecks:
    """What Slack says of the tokens and the ids."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, heard: Heard) -> None:
        """Make session by to_slack."""
        self._settings = settings
        self._heard = heard
        self._host = urlsplit(settings.slack_api_url).netloc
        self._slack = SlackClient(session, settings.slack_bot_token, settings.slack_api_url)

    @staticmethod
    def to_slack(url: str, heard: Heard) -> aiohttp.ClientSession:
        """A session for the Web API at url that tells heard what comes, and takes no answer that is slow or long."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        return aiohttp.ClientSession(
            timeout=timeout, proxy=proxy_to(url), response_class=BoundedResponse, trace_configs=[heard.trace()]
        )

    async def bot(self) -> Sequence[CheckResult]:
        """The bot's token, and all that it takes the token to find out."""
        try:
            answer = await self._slack.call("auth.test")
        except SlackError as failed:
            signed_in = self._refused(failed)
            rest = [unknown(about, "could not be asked for") for about in (BOT_SCOPES, *self._looked_up())]
        else:
            who = f"{answer.get('team')} ({answer.get('team_id')}), as {answer.get('user')} ({answer.get('user_id')})"
            signed_in = [well(SLACK, f"{self._host} answers"), well(BOT_TOKEN, f"workspace {who}")]
            home = Home(str(answer.get("team_id") or ""), str(answer.get("enterprise_id") or ""))
            rest = [self._scopes_found(), *await self._people(home), *(await self.groups())[1], *await self._channels()]
        return [*signed_in, clock("clock, by Slack", self._heard.ahead("auth.test")), *rest]

    async def app(self) -> Sequence[CheckResult]:
        """The app's token; the connection that it opens is not made, and its address lapses."""
        call = self._slack.client.apps_connections_open(app_token=self._settings.slack_app_token)
        try:
            await translated(call)
        except SlackError as failed:
            if self._not_slack(failed) is not None:
                return [unknown(APP_TOKEN, f"could not be asked for ({failed.code})")]
            mend = "make one with the scope connections:write (Basic Information), and switch Socket Mode on"
            return [fault(APP_TOKEN, f"Slack refuses it ({failed.code})", mend)]
        return [well(APP_TOKEN, "opens Socket Mode connections")]

    def _refused(self, failed: SlackError) -> list[CheckResult]:
        if (elsewhere := self._not_slack(failed)) is not None:
            return [elsewhere, unknown(BOT_TOKEN, "could not be asked for")]
        mend = "copy it again from the app's page, OAuth & Permissions"
        return [well(SLACK, f"{self._host} answers"), fault(BOT_TOKEN, f"Slack refuses it ({failed.code})", mend)]

    def _not_slack(self, failed: SlackError) -> CheckResult | None:
        """What is wrong where Slack did not answer, or did so of no use; None where it meant what it said."""
        code = failed.code
        if code == aiohttp.ClientConnectorCertificateError.__name__:
            return fault(SLACK, f"the certificate of {self._host} is not trusted", _CERTIFICATE.format("SLACK_API_URL"))
        if code.endswith("Error"):
            return fault(SLACK, f"no answer from {self._host} ({code})", _NETWORK.format("SLACK_API_URL"))
        if re.fullmatch(r"no_sense|http_[1-4]\d\d", code):
            return fault(SLACK, f"what answers at {self._host} is no Slack ({code})", "mend SLACK_API_URL")
        if isinstance(failed, SlackRetryableError) and code not in TOKEN_FAULTS:
            return unknown(SLACK, f"{self._host} answers {code} for now")
        return None

    def _looked_up(self) -> Sequence[str]:
        """The settings that hold ids."""
        ids = {PEOPLE: self._settings.allowed_users - {EVERYONE}, CHANNELS: self._settings.allowed_channels}
        return [name for name, given in ids.items() if given]

    # --- scopes and ids -----------------------------------------------------------------------------

    def _scopes(self) -> set[str] | None:
        """The scopes of the bot's token, or None: https://docs.slack.dev/authentication/installing-with-oauth."""
        told = self._heard.header("auth.test", "X-OAuth-Scopes")
        return None if told is None else {scope for scope in re.split(r"[,\s]+", told) if scope}

    def _scopes_found(self) -> CheckResult:
        scopes = self._scopes()
        if scopes is None:
            return unknown(BOT_SCOPES, "Slack did not tell them")
        wanted = {**SCOPES, **(GROUP_SCOPES if self._settings.allowed_groups else {})}
        missing = [f"{scope} ({use})" for scope, use in wanted.items() if scope not in scopes]
        if missing:
            mend = f"add them {_ADD_SCOPES}"
            return fault(BOT_SCOPES, f"missing: {', '.join(missing)}", mend)
        return well(BOT_SCOPES, ", ".join(wanted))

    async def _people(self, home: Home) -> Sequence[CheckResult]:
        async def ask(user_id: str) -> CheckResult:
            answer = await translated(self._slack.client.users_info(user=user_id))
            return _person(user_id, _object(answer, "user"), home)

        ids = sorted(filter(PERSON.fullmatch, self._settings.allowed_users))
        return await self._look_up(PEOPLE, ids, _PEOPLE_SCOPES, ask)

    async def groups(self) -> tuple[Mapping[str, Collection[str]], Sequence[CheckResult]]:
        """Who is in each of the user groups that can be read, and what is found of each that is named."""
        read: dict[str, Collection[str]] = {}

        async def ask(group_id: str) -> CheckResult:
            about = f"{PEOPLE} {group_id}"
            try:
                members = read[group_id] = await self._members(group_id)
            except SlackError as failed:
                if failed.code == _NO_SCOPE:
                    return fault(about, f"takes the scope {GROUP_SCOPE}", f"add it {_ADD_SCOPES}")
                if failed.code != GONE or not await self._disabled(group_id):
                    raise
            else:
                if members:
                    return well(about, f"a user group of {len(members)}")
                if not await self._disabled(group_id):
                    return fault(about, "nobody is in this user group", f"add people to it, or take it out of {PEOPLE}")
            return fault(about, "this user group is disabled", f"enable it in Slack, or take it out of {PEOPLE}")

        ids = sorted(self._settings.allowed_groups)
        return read, await self._look_up(PEOPLE, ids, [GROUP_SCOPE], ask)

    async def _members(self, group_id: str, **more: str) -> Collection[str]:
        return members_in(await self._slack.read(METHOD, usergroup=group_id, **more))

    async def _disabled(self, group_id: str) -> bool:
        """Whether a group that seems to be empty, or not there, has people where disabled ones are asked for too."""
        try:
            return bool(await self._members(group_id, include_disabled="true"))
        except SlackError:
            return False

    async def _channels(self) -> Sequence[CheckResult]:
        async def ask(channel_id: str) -> CheckResult:
            answer = await translated(self._slack.client.conversations_info(channel=channel_id))
            return _channel(channel_id, _object(answer, "channel"))

        ids = list(filter(CHANNEL.fullmatch, self._settings.allowed_channels))
        return await self._look_up(CHANNELS, ids, _CHANNEL_SCOPES, ask)

    async def _look_up(self, name: str, ids: Sequence[str], wanted: Sequence[str], ask: _Ask) -> Sequence[CheckResult]:
        """Ask for every id, a few at once; for none where the token may not, which the bot mostly does without."""
        scopes = self._scopes()
        if ids and scopes is not None and scopes.isdisjoint(wanted):
            without = "" if GROUP_SCOPE in wanted else ", which the bot does without"
            return [unknown(name, f"whether {_listed(ids)} exist takes the scope {wanted[0]}{without}")]
        turns = asyncio.Semaphore(_AT_ONCE)

        async def find(id_: str) -> Sequence[CheckResult]:
            async with turns:
                try:
                    return [await ask(id_)]
                except SlackError as failed:
                    return [_not_found(f"{name} {id_}", failed.code)]

        found = await asyncio.gather(*(in_time(f"{name} {id_}", LOOK_UP_SECONDS, find(id_)) for id_ in ids))
        return [finding for (finding,) in found]


def _person(user_id: str, user: Mapping[str, object], home: Home) -> CheckResult:
    """https://docs.slack.dev/reference/objects/user-object."""
    about, name = f"{PEOPLE} {user_id}", str(user.get("name") or "without a name")
    team, organisation = user.get("team_id"), _object(user, "enterprise_user").get("enterprise_id")
    at_home = team in (None, home.team_id) or (home.enterprise_id != "" and organisation == home.enterprise_id)
    why = {
        "is deactivated": user.get("deleted") is True,
        "is a bot, and bots give no commands": user.get("is_bot") is True,
        "belongs to another workspace, whose people may not": not at_home,
    }
    for what, true in why.items():
        if true:
            return fault(about, f"{name} {what}", f"take it out of {PEOPLE}")
    return well(about, f"{name}, active")


def _channel(channel_id: str, channel: Mapping[str, object]) -> CheckResult:
    """https://docs.slack.dev/reference/objects/conversation-object."""
    about, name = f"{CHANNELS} {channel_id}", f"#{channel.get('name') or channel_id}"
    if channel.get("is_archived") is True:
        return fault(about, f"{name} is archived", f"take it out of {CHANNELS}, or unarchive the channel")
    return well(about, f"{name}, active")


# What Slack says of an id that it does not show, and what to do. A private channel that the bot is not in is as none.
_UNSEEN = {
    "user_not_found": ("there is no such person", f"mend it in {PEOPLE}"),
    "user_not_visible": ("there is no such person in this workspace", f"mend it in {PEOPLE}"),
    GONE: ("there is no such user group", f"mend it in {PEOPLE}"),
    "plan_upgrade_required": (
        "this workspace's plan has no user groups",
        f"name people in {PEOPLE} instead, or change the plan",
    ),
    "channel_not_found": (
        "the bot sees no such channel",
        f"mend it in {CHANNELS}; where the channel is private, /invite the bot",
    ),
}


def _not_found(about: str, code: str) -> CheckResult:
    if code in _UNSEEN:
        return fault(about, *_UNSEEN[code])
    return unknown(about, f"Slack does not tell ({code})")


def _object(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")  # noqa: PLR2004 - said there


# --- ModelsLab --------------------------------------------------------------------------------------------


def to_modelslab(url: str, heard: Heard) -> aiohttp.ClientSession:
    """A session such as the client of ModelsLab wants, for the service at url, which tells heard what comes."""
    return aiohttp.ClientSession(proxy=proxy_to(url), auto_decompress=False, trace_configs=[heard.trace()])


async def modelslab(
    settings: Settings, session: aiohttp.ClientSession, heard: Heard, *, balance: bool
) -> Sequence[CheckResult]:
    """ModelsLab and its key, by a call that costs nothing; what the account holds only where balance says so."""
    host = urlsplit(settings.modelslab_url).netloc
    redact = Redactor(settings.secrets)
    try:
        held = await ModelsLab(session, settings.modelslab_url, settings.modelslab_api_key, redact).balance()
    except ModelsLabError as failed:
        found = _judged(host, failed)
    else:
        found = [well(MODELSLAB, f"{host} answers"), well(KEY, "accepted")]
        found += [well(BALANCE, held or "not told")] if balance else []
    return [*found, clock("clock, by ModelsLab", heard.ahead("wallet_balance"))]


def _judged(host: str, failed: ModelsLabError) -> list[CheckResult]:
    """What a refusal tells of the way there, and what of the key."""
    answers, unasked = well(MODELSLAB, f"{host} answers"), unknown(KEY, "could not be asked for")
    match failed.failure:
        case Failure.NO_ANSWER:
            mend = _CERTIFICATE if "certificate" in failed.said else _NETWORK
            no_answer = f"no answer from {host}: {failed.said}"
            return [fault(MODELSLAB, no_answer, mend.format("MODELSLAB_URL")), unasked]
        case Failure.NO_SENSE:
            what = f"what answers at {host} is no ModelsLab ({failed.said})"
            return [fault(MODELSLAB, what, "mend MODELSLAB_URL"), unasked]
        case Failure.KEY:
            mend = "copy it again from ModelsLab's dashboard into MODELSLAB_API_KEY"
            return [answers, fault(KEY, f"ModelsLab refuses it: {failed.said}", mend)]
        case Failure.CREDITS | Failure.PLAN:
            explained = FAILURES[failed.failure]
            return [answers, well(KEY, "accepted"), fault(ACCOUNT, explained.why, explained.fix)]
        case _:
            return [answers, unknown(KEY, f"{FAILURES[failed.failure].why}: {failed.said}")]
