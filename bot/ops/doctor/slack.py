"""Checks of Slack: tokens, scopes, the IDs in the settings, the clock. Only methods that change nothing are called.

https://docs.slack.dev/reference/methods
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from itertools import chain

import aiohttp

from bot.core.access import ADMINS, Workspace
from bot.errors import SlackError, SlackRetryableError
from bot.ops.doctor.results import CheckResult, clock, no_answer, ok, problem, unknown
from bot.settings import Settings
from bot.settings.reader import CHANNEL, GROUP, PERSON
from bot.settings.urls import host_of
from bot.slack.client import TOKEN_FAULTS, SlackClient
from bot.slack.manifest import GROUP_SCOPE, OPTIONAL_SCOPES, SCOPES
from bot.slack.socket_mode import APP_TOKEN_FAULTS
from bot.slack.user_groups import GONE, read_members

SLACK, BOT_TOKEN, BOT_SCOPES, CLOCK = "Slack", "bot token", "bot scopes", "clock vs Slack"
APP_TOKEN, SOCKET_MODE = "app token", "Socket Mode"
PEOPLE, CHANNELS, ADMIN_CHANNEL = "ALLOWED_USERS", "ALLOWED_CHANNELS", "ADMIN_CHANNEL"

ANSWER_SECONDS = 5.0
"""For one answer, including the wait for its turn. At most three answers come one after another."""

_AT_ONCE = 8
_APP_PAGE = "on your app's page, OAuth & Permissions"
_REINSTALL = f"reinstall the app and copy its token again: {_APP_PAGE}"

# What Slack says about an ID, and the fix. Slack hides private channels that the bot isn't in.
_NOT_FOUND = {
    "user_not_found": ("there is no such person", "fix it in {name}"),
    "user_not_visible": ("there is no such person in this workspace", "fix it in {name}"),
    "plan_upgrade_required": ("this workspace's plan has no user groups", "list people in {name} instead"),
    "channel_not_found": ("the bot can't see this channel", "fix it in {name}, or /invite the bot if it is private"),
}


class SlackChecks:
    """The checks that need Slack. Open them with slack_checks."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._host = host_of(settings.slack_api_url)
        self._slack = SlackClient(session, settings)
        self._workspace = Workspace("")
        self._org_wide = False
        """Whether the app is installed for a whole organisation."""
        self._scopes: Collection[str] | None = None
        """The scopes of the bot's token, None if Slack didn't list them."""
        self.members: dict[str, Collection[str]] = {}
        """The members of each user group that could be read."""

    async def bot(self) -> Sequence[CheckResult]:
        """Check the bot's token, and everything that can be checked with it."""
        settings = self._settings
        try:
            answer, headers = await self._slack.ask("auth.test", settings.slack_bot_token)
        except SlackError as error:
            return self._rejected(error)
        if "X-OAuth-Scopes" in headers:
            self._scopes = re.findall(r"[^,\s]+", headers["X-OAuth-Scopes"])
        own = self._workspace = Workspace(str(answer.get("team_id") or ""), str(answer.get("enterprise_id") or ""))
        self._org_wide = answer.get("is_enterprise_install") is True
        if own == Workspace(""):
            return [problem(BOT_TOKEN, "Slack names neither a workspace nor an organisation for it", _REINSTALL)]
        found = await asyncio.gather(
            self._look_up(PEOPLE, sorted(settings.allowed_users), PERSON, self._person, "users:read"),
            self._look_up(ADMINS, sorted(settings.admin_users), PERSON, self._person, "users:read"),
            self.groups(),
            self._look_up(CHANNELS, settings.allowed_channels, CHANNEL, self._channel, "channels:read"),
            self._look_up(ADMIN_CHANNEL, [settings.admin_channel], CHANNEL, self._channel, "channels:read"),
        )
        kind = "workspace" if own.team_id else "organisation"
        where = f"{kind} {answer.get('team') or ''} ({own.team_id or own.enterprise_id})".replace("  ", " ")
        return [
            ok(BOT_TOKEN, f"{where}, as {answer.get('user')} ({answer.get('user_id')})"),
            _clock(headers.get("Date", "")),
            _scopes(self._scopes),
            *chain.from_iterable(found),
        ]

    async def app(self) -> Sequence[CheckResult]:
        """Check the app's token, and whether the WebSocket's host can be reached."""
        token = self._settings.slack_app_token
        try:
            answer, _ = await self._slack.ask("apps.connections.open", token)
        except SlackError as error:
            if error.code not in APP_TOKEN_FAULTS and self._unusable(error):
                return [unknown(APP_TOKEN, f"not checked ({error.code})")]
            fix = "create one with the scope connections:write (Basic Information), and turn Socket Mode on"
            return [problem(APP_TOKEN, f"Slack rejects it ({error.code})", fix)]
        return [ok(APP_TOKEN, "accepted"), await self._reach(str(answer.get("url")))]

    async def _reach(self, address: str) -> CheckResult:
        """Request a page from the WebSocket's host. No WebSocket is opened: Slack could send a command to it."""
        url = re.sub("^ws", "http", address.partition("?")[0])
        host = host_of(url) or "an unknown host"
        try:
            async with self._session.get(url, proxy=self._settings.proxy_for(address), allow_redirects=False):
                return ok(SOCKET_MODE, f"{host} can be reached")
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, TimeoutError) as error:
            return no_answer(SOCKET_MODE, host, type(error).__name__, "HTTPS_PROXY")
        except aiohttp.ClientError as error:
            return unknown(SOCKET_MODE, f"not checked ({type(error).__name__})")

    def _rejected(self, error: SlackError) -> Sequence[CheckResult]:
        """What is wrong if nothing can be checked with the token."""
        rest = "scopes, people and channels"
        if unusable := self._unusable(error):
            return [unusable, unknown(f"{BOT_TOKEN}, {rest}")]
        rejected = problem(BOT_TOKEN, f"Slack rejects it ({error.code})", f"copy it again: it is {_APP_PAGE}")
        return [rejected, unknown(rest, f"not checked: fix the {BOT_TOKEN} first")]

    def _unusable(self, error: SlackError) -> CheckResult | None:
        """What is wrong with the connection to Slack, or None if Slack rejected the token."""
        code = error.code
        if error.host:
            return no_answer(SLACK, self._host, code, "SLACK_API_URL")
        if re.fullmatch(r"no_sense|http_[1-4]\d\d", code):
            what = "its answer isn't JSON" if code == "no_sense" else code.replace("http_", "HTTP ")
            return problem(SLACK, f"{self._host} isn't Slack's API ({what})", "fix SLACK_API_URL")
        if isinstance(error, SlackRetryableError) and code not in TOKEN_FAULTS:
            return unknown(SLACK, f"{self._host} currently answers {code}")
        return None

    async def groups(self) -> Sequence[CheckResult]:
        """Read who is in each allowed user group."""
        return await self._look_up(PEOPLE, sorted(self._settings.allowed_users), GROUP, self._group)

    async def _look_up(
        self,
        setting: str,
        ids: Sequence[str],
        kind: re.Pattern[str],
        look_up: Callable[[str, str], Awaitable[CheckResult]],
        scope: str = "",
    ) -> Sequence[CheckResult]:
        """Look up every ID of this kind in a setting, unless the token lacks the scope for it."""

        async def find(id_: str) -> CheckResult:
            try:
                return await look_up(setting, id_)
            except SlackError as error:
                if error.code in _NOT_FOUND:
                    text, fix = _NOT_FOUND[error.code]
                    return problem(f"{setting} {id_}", text, fix.format(name=setting))
                return unknown(f"{setting} {id_}", f"not checked ({error.code})")

        valid = list(filter(kind.fullmatch, ids))
        if valid and scope and self._scopes is not None and scope not in self._scopes:
            return [unknown(setting, f"not checked (needs the optional scope {scope})")]
        return await asyncio.gather(*map(find, valid))

    async def _person(self, setting: str, user_id: str) -> CheckResult:
        """https://docs.slack.dev/reference/objects/user-object."""
        user = _object(await self._slack.read("users.info", user=user_id), "user")
        team, organisation = user.get("team_id"), _object(user, "enterprise_user").get("enterprise_id")
        own = self._workspace
        ours = team in (None, own.team_id) or (own.enterprise_id != "" and organisation == own.enterprise_id)
        faults = {
            "is deactivated": user.get("deleted") is True,
            "is a bot, and bots can't use commands": user.get("is_bot") is True,
            "belongs to another workspace": not ours,
        }
        about, name = f"{setting} {user_id}", user.get("name") or "no name"
        for text, applies in faults.items():
            if applies:
                return problem(about, f"{name} {text}", f"remove it from {setting}")
        return ok(about, f"{name}, active")

    async def _channel(self, setting: str, channel_id: str) -> CheckResult:
        """https://docs.slack.dev/reference/objects/conversation-object."""
        channel = _object(await self._slack.read("conversations.info", channel=channel_id), "channel")
        about, name = f"{setting} {channel_id}", f"#{channel.get('name') or channel_id}"
        if channel.get("is_archived") is True:
            return problem(about, f"{name} is archived", f"remove it from {setting}, or unarchive the channel")
        return ok(about, f"{name}, active")

    async def _group(self, setting: str, group_id: str) -> CheckResult:
        about = f"{setting} {group_id}"
        try:
            members = self.members[group_id] = await read_members(self._slack, group_id)
        except SlackError as error:
            if error.code == "missing_scope":
                return problem(about, f"needs the scope {GROUP_SCOPE}", f"add it {_APP_PAGE}, and reinstall the app")
            if error.code != GONE:
                raise
            self.members[group_id] = frozenset()
            elsewhere = ", or add the app to the workspace of this group" if self._org_wide else ""
            fault = problem(about, "there is no such user group", f"fix it in {setting}{elsewhere}")
        else:
            if members:
                return ok(about, f"user group, members: {len(members)}")
            fault = problem(about, "this user group is empty", f"add people to it, or remove it from {setting}")
        if await self._is_disabled(group_id):
            return problem(about, "this user group is disabled", f"enable it in Slack, or remove it from {setting}")
        return fault

    async def _is_disabled(self, group_id: str) -> bool:
        """Whether a group that seems empty or missing has members if disabled groups are included."""
        with suppress(SlackError):
            return bool(await read_members(self._slack, group_id, include_disabled="true"))
        return False


@asynccontextmanager
async def slack_checks(settings: Settings) -> AsyncIterator[SlackChecks]:
    """The checks, with a session that limits the time of each answer."""
    timeout, connector = aiohttp.ClientTimeout(total=ANSWER_SECONDS), aiohttp.TCPConnector(limit=_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield SlackChecks(settings, session)


def _scopes(scopes: Collection[str] | None) -> CheckResult:
    """Compare with the scopes that the bot needs. The one for user groups is checked with each group."""
    if scopes is None:
        return unknown(BOT_SCOPES, "not checked (Slack didn't list them)")
    if missing := [f"{scope} ({use})" for scope, use in SCOPES.items() if scope not in scopes]:
        return problem(BOT_SCOPES, f"missing: {', '.join(missing)}", f"add them {_APP_PAGE}, and reinstall the app")
    return ok(BOT_SCOPES, ", ".join(scope for scope in (*SCOPES, *OPTIONAL_SCOPES) if scope in scopes))


def _clock(date: str) -> CheckResult:
    """Compare with the Date header of an answer that has just come. It has whole seconds."""
    try:
        return clock(CLOCK, time.time() - parsedate_to_datetime(date).timestamp() - 0.5)
    except (ValueError, OverflowError):
        return unknown(CLOCK, "unknown")


def _object(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}
