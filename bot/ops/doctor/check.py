"""`reload-model-bot check`: runs all checks at the same time, and prints their results."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TextIO

from bot.background import DaemonThreads
from bot.core.access import ADMINS, Allowlist
from bot.core.text import harmless
from bot.errors import CannotStart
from bot.logs import Redactor
from bot.ops import probe
from bot.ops.doctor import database, modelslab
from bot.ops.doctor.results import CheckResult, Status, in_time, ok, problem, unknown
from bot.ops.doctor.slack import APP_TOKEN, BOT_TOKEN, CHANNELS, PEOPLE, slack_checks
from bot.ops.reading import reading
from bot.settings import NAMES, Settings
from bot.settings.reader import EVERYONE, Problem
from bot.slack.http import WebServer
from bot.storage import grants

SECONDS = 16.0
"""For all checks together. With the start and end of the program, 20 seconds at most."""

_LONGEST = 400
_SIGNING_SECRET = "signing secret"  # noqa: S105 - not one


def main(out: TextIO, settings: Settings, problems: Sequence[Problem], *, who: str, balance: bool, form: str) -> int:
    """Check everything, or only whether a person can reload models. Print the results, and return the exit code.

    The form is "brief", "verbose" (with every setting that is right) or "json" (in ASCII, for every terminal).
    """
    checking = check_person(who, settings, problems) if who else check_all(settings, problems, balance=balance)
    redact = Redactor(settings.secrets)
    results = [
        replace(result, about=harmless(result.about, _LONGEST), text=harmless(redact(result.text), _LONGEST))
        for result in asyncio.run(checking)
    ]
    results.sort(key=lambda result: list(Status).index(result.status))
    failed = any(result.status is Status.PROBLEM for result in results)
    if form == "json":
        listed = [
            {"about": result.about, "status": result.status.name.lower(), "text": result.text, "fix": result.fix}
            for result in results
        ]
        out.write(json.dumps({"ok": not failed, "results": listed}, indent=2) + "\n")
    else:
        out.writelines(f"{result}\n" for result in (results if form == "verbose" else _in_brief(results)))
    return int(failed)


def _in_brief(results: Sequence[CheckResult]) -> Sequence[CheckResult]:
    """The same, with one line for all settings that are right, before everything else that is right."""
    right = [result for result in results if result.status is Status.OK and result.about in NAMES]
    others = [result for result in results if result not in right]
    at = sum(result.status is not Status.OK for result in results)
    summary = [ok(f"{len(right)} settings (--verbose lists them)", "")] if right else []
    return [*others[:at], *summary, *others[at:]]


async def check_all(settings: Settings, problems: Sequence[Problem], *, balance: bool) -> Sequence[CheckResult]:
    """Check everything. A check that needs a setting with a problem is left out, and its result says so."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    wrong = {problem.setting for problem in problems}

    async def run(
        about: str, needs: Sequence[str], check: Callable[[], Awaitable[Sequence[CheckResult]]]
    ) -> Sequence[CheckResult]:
        if first := [name for name in needs if name in wrong]:
            return [unknown(about, f"not checked: fix {' and '.join(first)} first")]
        return await in_time(about, SECONDS, check())

    async def signing_secret() -> Sequence[CheckResult]:
        return [unknown(_SIGNING_SECRET, "not checked: the first command from Slack shows whether it is right")]

    proxies = ("HTTPS_PROXY", "HTTP_PROXY")
    async with slack_checks(settings) as slack:
        found = await asyncio.gather(
            run("ports", ["HOST", "PORT", "ADMIN_PORT"], partial(check_ports, settings)),
            run(database.DATABASE, ["DATABASE_URL"], partial(database.check, settings.database_url)),
            run(BOT_TOKEN, ["SLACK_BOT_TOKEN", "SLACK_API_URL", *proxies], slack.bot),
            run(APP_TOKEN, ["SLACK_APP_TOKEN", "SLACK_API_URL", *proxies], slack.app)
            if settings.socket_mode
            else run(_SIGNING_SECRET, ["SLACK_SIGNING_SECRET"], signing_secret),
            run(
                modelslab.MODELSLAB,
                ["MODELSLAB_API_KEY", "MODELSLAB_URL", *proxies],
                partial(modelslab.check, settings, balance=balance),
            ),
        )
    return [*check_settings(settings, problems), *chain.from_iterable(found)]


async def check_ports(settings: Settings) -> Sequence[CheckResult]:
    """Check PORT and ADMIN_PORT. Port 0 means any free port, so it isn't checked."""
    ports = {"PORT": settings.port, "ADMIN_PORT": settings.admin_port}
    results = [await _check_port(settings, setting, port) for setting, port in ports.items() if port]
    return list(dict.fromkeys(results))  # a wrong HOST is one problem


async def _check_port(settings: Settings, setting: str, port: int) -> CheckResult:
    server = WebServer(settings.host, port)
    try:
        await server.start(setting)
    except CannotStart as error:
        if await asyncio.to_thread(probe.is_running, settings):
            return ok(f"port {port}", "in use by a running bot")
        return problem(error.setting, error.what, error.fix)
    finally:
        await server.stop()
    return ok(f"port {port}", "free")


def check_settings(settings: Settings, problems: Sequence[Problem]) -> Sequence[CheckResult]:
    """Each problem, and each setting that is right and set, with its value unless it is secret."""
    wrong = {problem.setting for problem in problems}
    values = {field.name.upper(): getattr(settings, field.name) for field in fields(settings)}
    unset: Collection[object] = ("", None, (), frozenset())
    right = {name: value for name, value in values.items() if name not in wrong and value not in unset}
    return [*map(_of_setting, problems), *(ok(name, _shown(right[name], settings.secrets)) for name in right)]


def _of_setting(found: Problem) -> CheckResult:
    return problem(found.setting, found.text.removeprefix("is "), found.fix)


def _shown(value: object, secrets: Collection[str]) -> str:
    if value in secrets:
        return "set"
    if isinstance(value, frozenset | tuple):
        return ", ".join(sorted(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


async def check_person(who: str, settings: Settings, problems: Sequence[Problem]) -> Sequence[CheckResult]:
    """Whether a person of this workspace can reload models, by which rule, and where.

    Only user groups and the access that admins gave are read, if the settings don't name the person.
    """
    named = who in settings.allowed_users | settings.admin_users
    groups = frozenset[str]() if named else settings.allowed_groups
    needed = {PEOPLE, ADMINS, CHANNELS} | ({"SLACK_BOT_TOKEN", "SLACK_API_URL"} if groups else set())
    if settings.admin_users and not named:
        needed.add("DATABASE_URL")
    wrong = [problem for problem in problems if problem.setting in needed or problem.setting not in NAMES]
    if wrong:
        return list(map(_of_setting, wrong))
    async with slack_checks(settings) as slack:
        found = await slack.groups() if groups else []
    users, channels = settings.allowed_users, settings.allowed_channels
    allowlist = Allowlist(users, channels, slack.members.get, settings.admin_users)
    where = f"{', '.join(channels)} ({CHANNELS})" if channels else "any channel"
    if rule := allowlist.rule(who):
        by = _by(rule)
    else:
        grant = None
        try:
            if settings.admin_users:  # without admins, no access that they gave counts
                with reading(settings) as connection:
                    grant = grants.grant_of(connection, who)
        except CannotStart as error:
            return [unknown(who, f"depends on the access that admins gave. {error}")]
        if grant is None:
            return [*(result for result in found if result.status is not Status.OK), _refused(who, settings, allowlist)]
        day = datetime.fromtimestamp(grant.granted_at, UTC)
        by = f"{grant.granted_by} gave them access on {day:%Y-%m-%d}"
    return [ok(who, f"can reload models in {where}, because {by}")]


def _by(rule: str) -> str:
    """How to name a rule of the settings."""
    if rule == ADMINS:
        return f"{ADMINS} has this ID"
    return f"{PEOPLE} has {f'{EVERYONE} (everyone in this workspace)' if rule == EVERYONE else rule}"


def _refused(who: str, settings: Settings, allowlist: Allowlist) -> CheckResult:
    """Why the settings don't allow a person whom no admin gave access."""
    if unread := allowlist.unread_groups:
        return unknown(who, f"depends on {' '.join(unread)}, which can't be read")
    groups = settings.allowed_groups
    fix = f"add {who} to {PEOPLE}" + (f", or to {' or '.join(sorted(groups))} in Slack" if groups else "")
    fix += ", or have an admin give them access in Slack" if settings.admin_users else ""
    which = f"{PEOPLE} has neither this ID nor a user group of theirs" if groups else f"not in {PEOPLE}"
    return problem(who, f"can't reload models: {which}", fix)
