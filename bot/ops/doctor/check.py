"""`reload-model-bot check`: runs all checks at the same time, and prints their results."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from threading import Thread
from typing import ParamSpec, TextIO, TypeVar

from bot.core.access import Allowlist, Home, Person
from bot.core.text import harmless
from bot.errors import Refusal, Refused
from bot.ops.doctor import database, modelslab, ports
from bot.ops.doctor.results import CheckResult, Status, in_time, ok, problem, unknown
from bot.ops.doctor.slack import APP_TOKEN, BOT_TOKEN, CHANNELS, PEOPLE, slack_checks
from bot.ops.logging import Redactor
from bot.settings import EVERYONE, NAMES, Problem, Settings

SECONDS = 16.0
"""For all checks together. With the start and end of the program, 20 seconds at most."""

_LONGEST = 400
_HERE = "this workspace"
_SIGNING_SECRET = "signing secret"  # noqa: S105 - not one

_Check = Callable[[], Awaitable[Sequence[CheckResult]]]

P = ParamSpec("P")
T = TypeVar("T")


def main(out: TextIO, settings: Settings, problems: Sequence[Problem], *, who: str, balance: bool, form: str) -> int:
    """Check everything, or only whether a person can reload models. Print the results, and return the exit code.

    The form is "brief", "verbose" (with every setting that is right) or "json".
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
        out.write(_as_json(results, ok=not failed))
    else:
        out.writelines(map(_as_line, results if form == "verbose" else _in_brief(results)))
    return int(failed)


def _in_brief(results: Sequence[CheckResult]) -> Sequence[CheckResult]:
    """The same, with one line for all settings that are right, before everything else that is right."""
    right = [result for result in results if result.status is Status.OK and result.about in NAMES]
    others = [result for result in results if result not in right]
    at = sum(result.status is not Status.OK for result in results)
    summary = [ok(f"{len(right)} settings (--verbose lists them)", "")] if right else []
    return [*others[:at], *summary, *others[at:]]


def _as_line(result: CheckResult) -> str:
    text = f": {result.text}" if result.text else ""
    fix = f" → {result.fix}" if result.fix else ""
    return f"{result.status.value} {result.about}{text}{fix}\n"


def _as_json(results: Sequence[CheckResult], *, ok: bool) -> str:
    """ASCII only, so that it is JSON on every terminal."""
    listed = [
        {"about": result.about, "status": result.status.name.lower(), "text": result.text, "fix": result.fix}
        for result in results
    ]
    return json.dumps({"ok": ok, "results": listed}, indent=2) + "\n"


async def check_all(settings: Settings, problems: Sequence[Problem], *, balance: bool) -> Sequence[CheckResult]:
    """Check everything. A check that needs a setting with a problem is left out, and its result says so."""
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    wrong = {problem.setting for problem in problems}

    async def run(about: str, needs: Sequence[str], check: _Check) -> Sequence[CheckResult]:
        if first := [name for name in needs if name in wrong]:
            return [unknown(about, f"not checked: fix {' and '.join(first)} first")]
        return await in_time(about, SECONDS, check())

    async def signing_secret() -> Sequence[CheckResult]:
        return [unknown(_SIGNING_SECRET, "not checked: the first command from Slack shows whether it is right")]

    proxies = ("HTTPS_PROXY", "HTTP_PROXY")
    async with slack_checks(settings) as slack:
        found = await asyncio.gather(
            run("ports", ["HOST", "PORT", "ADMIN_PORT"], partial(ports.check, settings)),
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


def check_settings(settings: Settings, problems: Sequence[Problem]) -> Sequence[CheckResult]:
    """Each problem, and each setting that is right and set, with its value unless it is secret."""
    wrong = {problem.setting for problem in problems}
    values = {field.name.upper(): getattr(settings, field.name) for field in fields(settings)}
    right = {name: value for name, value in values.items() if name not in wrong and value not in ("", None, ())}
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
    """Whether a person of this workspace can reload models, by which rule, and where. Only user groups are read."""
    groups = frozenset[str]() if who in settings.allowed_users else settings.allowed_groups
    needed = {PEOPLE, CHANNELS} | ({"SLACK_BOT_TOKEN", "SLACK_API_URL"} if groups else set())
    wrong = [problem for problem in problems if problem.setting in needed or problem.setting not in NAMES]
    if wrong:
        return list(map(_of_setting, wrong))
    async with slack_checks(settings) as slack:
        found = await slack.groups() if groups else []
    allowlist = Allowlist(settings.allowed_users, settings.allowed_channels, slack.members.get)
    allowlist.home = Home(_HERE)
    try:
        rule = allowlist.who(Person(who, _HERE, ""))
    except Refused as refused:
        if refused.reason is Refusal.GROUP_UNREAD:
            unread = unknown(who, f"depends on {refused.rule}, which can't be read")
            return [*(result for result in found if result.status is not Status.OK), unread]
        fix = f"add {who} to {PEOPLE}" + (f", or to {' or '.join(sorted(groups))} in Slack" if groups else "")
        which = f"{PEOPLE} has neither this ID nor a user group of theirs" if groups else f"not in {PEOPLE}"
        return [problem(who, f"can't reload models: {which}", fix)]
    by = f"{EVERYONE} (everyone in this workspace)" if rule == EVERYONE else rule
    channels = settings.allowed_channels
    where = f"{', '.join(channels)} ({CHANNELS})" if channels else "any channel"
    return [ok(who, f"can reload models in {where}, because {PEOPLE} has {by}")]


class DaemonThreads(ThreadPoolExecutor):
    """Threads that don't delay the exit: a DNS lookup can take longer than all checks together."""

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a task in a thread of its own."""
        future = Future[T]()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(task(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - the future's owner gets it
                future.set_exception(error)

        Thread(target=work, daemon=True).start()
        return future
