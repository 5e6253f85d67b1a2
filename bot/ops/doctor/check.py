"""`reload-model-bot check`: is everything set up? One line a finding, side by side, and nothing is changed.

Knows which checks there are and how they are told; what they look at is theirs.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from threading import Thread
from typing import ParamSpec, TextIO, TypeVar

from bot import settings
from bot.core.access import Allowlist, Home, Person
from bot.core.text import harmless
from bot.errors import Refusal, Refused, SettingsError
from bot.ops import logging as logs
from bot.ops.doctor import database as database_check
from bot.ops.doctor.database import DATABASE
from bot.ops.doctor.result import CheckResult, Mark, fault, in_time, unknown, well
from bot.ops.doctor.services import (
    APP_TOKEN,
    BOT_TOKEN,
    CHANNELS,
    MODELSLAB,
    PEOPLE,
    SIGNING_SECRET,
    Heard,
    SlackChecks,
    modelslab,
    to_modelslab,
)
from bot.settings import EVERYONE, Settings

SECONDS = 16.0
"""For all checks together; with the program's start and end it is 20 at most."""

_LONGEST = 400
_HERE = "this workspace"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Check:
    """One of those that run side by side, and the settings that must be sound for it."""

    about: str
    needs: Collection[str]
    run: Callable[[], Awaitable[Sequence[CheckResult]]]


def main(out: TextIO, *, who: str = "", balance: bool = False, as_json: bool = False) -> int:
    """Check the set-up that the environment describes, or only whether who may; return the exit code."""
    redact = logs.Redactor()
    try:
        config, faults = settings.read(settings.environment())
    except SettingsError as error:
        found: Sequence[CheckResult] = [_of_setting(told) for told in error.problems]
    else:
        redact = logs.Redactor(config.secrets)
        logs.configure("CRITICAL", "console", config.secrets)  # what goes wrong is told as a finding
        found = asyncio.run(may(who, config, faults) if who else examine(config, faults, balance=balance))
    shown = [_fit_to_show(finding, redact) for finding in found]
    out.write(in_json(shown) if as_json else in_lines(shown))
    return _exit_code(shown)


async def examine(config: Settings, faults: Sequence[str], *, balance: bool) -> Sequence[CheckResult]:
    """Check everything; what takes a setting that is faulty is left out, and said to be."""
    asyncio.get_running_loop().set_default_executor(UnawaitedThreads())
    heard = Heard()
    async with (
        SlackChecks.to_slack(config.slack_api_url, heard) as to_slack,
        to_modelslab(config.modelslab_url, heard) as to_lab,
    ):
        slack = SlackChecks(config, to_slack, heard)
        app = _Check(APP_TOKEN, ["SLACK_APP_TOKEN", "SLACK_API_URL"], slack.app)
        signed = _Check(SIGNING_SECRET, ["SLACK_SIGNING_SECRET"], _signing_secret)
        lab = partial(modelslab, config, to_lab, heard, balance=balance)
        checks = (
            _Check(DATABASE, ["DATABASE_URL"], partial(database_check.look, config.database_url)),
            _Check(BOT_TOKEN, ["SLACK_BOT_TOKEN", "SLACK_API_URL"], slack.bot),
            app if config.socket_mode else signed,
            _Check(MODELSLAB, ["MODELSLAB_API_KEY", "MODELSLAB_URL"], lab),
        )
        faulty = {_of_setting(told).about for told in faults}
        found = await asyncio.gather(*(_run(check, faulty) for check in checks))
    return [*of_settings(config, faults), *chain.from_iterable(found)]


async def _run(check: _Check, faulty: Collection[str]) -> Sequence[CheckResult]:
    if unsound := [name for name in check.needs if name in faulty]:
        return [unknown(check.about, f"not looked at: mend {' and '.join(unsound)} first")]
    return await in_time(check.about, SECONDS, check.run())


async def _signing_secret() -> Sequence[CheckResult]:
    return [unknown(SIGNING_SECRET, "whether it is right shows when Slack sends the first command")]


class UnawaitedThreads(ThreadPoolExecutor):
    """Threads that do not hold up the program's end: a name server may take longer than all checks together."""

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a task in a thread of its own."""
        future = Future[T]()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(task(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
                future.set_exception(error)

        Thread(target=work, name="unawaited", daemon=True).start()
        return future


# --- the settings ---------------------------------------------------------------------------------------


def of_settings(config: Settings, faults: Sequence[str]) -> Sequence[CheckResult]:
    """A line for each setting, in their order: its value, unless that is secret, or its faults."""
    told = [_of_setting(text) for text in faults]
    found: list[CheckResult] = []
    for field in fields(config):
        name = field.name.upper()
        sound = well(name, _value(getattr(config, field.name), config.secrets))
        found += [finding for finding in told if finding.about == name] or [sound]
    return found


def _of_setting(told: str) -> CheckResult:
    """A fault of the settings says "NAME is wrong so: mend it so"."""
    what, _, mend = told.partition(": ")
    name, _, text = what.partition(" ")
    return fault(name, text, mend)


def _value(value: object, secrets: Collection[str]) -> str:
    if value in secrets:
        return "set"
    if value is None:
        return "not set"
    if isinstance(value, frozenset | tuple):
        return ", ".join(sorted(value)) or "any"
    return f"{value:g}" if isinstance(value, float) else str(value) or "not set"


# --- who may --------------------------------------------------------------------------------------------


async def may(who: str, config: Settings, faults: Sequence[str]) -> Sequence[CheckResult]:
    """Whether a person of this workspace may reload models, by which rule, and where. Asks only who is in groups."""
    groups = frozenset[str]() if who in config.allowed_users else config.allowed_groups
    needed = {PEOPLE, CHANNELS} | ({"SLACK_BOT_TOKEN", "SLACK_API_URL"} if groups else set())
    unsound = [finding for finding in map(_of_setting, faults) if finding.about in needed]
    if unsound:
        return unsound
    members, found = await _read(config) if groups else ({}, [])
    allowlist = Allowlist(config.allowed_users, config.allowed_channels, members.get)
    allowlist.home = Home(_HERE)
    try:
        rule = allowlist.who(Person(who, _HERE, ""))
    except Refused as refused:
        if refused.reason is not Refusal.GROUP_UNREAD:
            return [_may_not(who, sorted(groups))]
        why = f"whether they may reload models depends on {refused.rule}, which cannot be read"
        return [*(finding for finding in found if finding.mark is not Mark.OK), unknown(who, why)]
    by = f"{EVERYONE}, which is everyone of this workspace" if rule == EVERYONE else rule
    return [well(who, f"may reload models in {_listed(config.allowed_channels)}, by {PEOPLE} with {by}")]


async def _read(config: Settings) -> tuple[Mapping[str, Collection[str]], Sequence[CheckResult]]:
    heard = Heard()
    async with SlackChecks.to_slack(config.slack_api_url, heard) as session:
        return await SlackChecks(config, session, heard).groups()


def _may_not(who: str, groups: Sequence[str]) -> CheckResult:
    if not groups:
        return fault(who, f"may not reload models: {PEOPLE} does not name them", f"add {who} to {PEOPLE}")
    told = f"may not reload models: {PEOPLE} names neither them nor a user group that they are in"
    return fault(who, told, f"add {who} to {PEOPLE}, or to {' or '.join(groups)} in Slack")


def _listed(channels: Sequence[str]) -> str:
    return f"{', '.join(channels)} ({CHANNELS})" if channels else "any channel"


# --- telling --------------------------------------------------------------------------------------------


def in_lines(findings: Sequence[CheckResult]) -> str:
    """For people."""
    return "".join(
        f"{finding.mark.value} {finding.about}: {finding.text}" + (f" → {finding.mend}" if finding.mend else "") + "\n"
        for finding in findings
    )


def in_json(findings: Sequence[CheckResult]) -> str:
    """For programs; ok is whether nothing is wrong that was seen to be."""
    told = [
        {"about": finding.about, "result": finding.mark.name.lower(), "text": finding.text, "mend": finding.mend}
        for finding in findings
    ]
    return json.dumps({"ok": _exit_code(findings) == 0, "findings": told}, indent=2) + "\n"


def _exit_code(findings: Sequence[CheckResult]) -> int:
    return int(any(finding.mark is Mark.FAULT for finding in findings))


def _fit_to_show(finding: CheckResult, redact: logs.Redactor) -> CheckResult:
    """What the services say is in the text as they said it; a mend is this program's own, and holds no secret."""
    return replace(finding, text=harmless(redact(finding.text), _LONGEST), mend=harmless(finding.mend, _LONGEST))
