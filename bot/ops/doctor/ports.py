"""Checks of the ports: can the bot listen there, or does it already."""

import asyncio
from collections.abc import Sequence

from bot.errors import CannotStart
from bot.ops import probe
from bot.ops.doctor.results import CheckResult, ok, problem
from bot.settings import Settings
from bot.slack.server import WebServer


async def check(settings: Settings) -> Sequence[CheckResult]:
    """Check PORT and ADMIN_PORT. Port 0 means any free port, so it isn't checked."""
    ports = {"PORT": settings.port, "ADMIN_PORT": settings.admin_port}
    results = [await _check(settings, setting, port) for setting, port in ports.items() if port]
    return list(dict.fromkeys(results))  # a wrong HOST is one problem


async def _check(settings: Settings, setting: str, port: int) -> CheckResult:
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
