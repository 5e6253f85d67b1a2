"""Checks of ModelsLab, by calls that cost nothing: https://docs.modelslab.com."""

import asyncio
from collections.abc import Awaitable, Sequence

import aiohttp

from bot.core.models import ModelGroup
from bot.errors import Failure, ModelsLabError
from bot.modelslab.catalog import LIMITS
from bot.modelslab.client import ModelsLab
from bot.modelslab.lists import ModelList
from bot.ops.doctor.results import CheckResult, no_answer, ok, problem, unknown
from bot.settings import Settings
from bot.settings.urls import host_of
from bot.ui.reasons import FAILURES

MODELSLAB, KEY, ACCOUNT, BALANCE = "ModelsLab", "ModelsLab key", "ModelsLab account", "ModelsLab balance"
OWN_MODELS, PUBLIC_MODELS = "account's models", "public models"

LIST_SECONDS = 5.0
"""For a list of models: a part of the time for all checks."""


async def check(settings: Settings, *, balance: bool) -> Sequence[CheckResult]:
    """Check ModelsLab and its key. The account's balance is shown only if asked for."""
    url = settings.modelslab_url
    host = host_of(url)
    accepted = ok(KEY, f"accepted by {host}")
    async with aiohttp.ClientSession(proxy=settings.proxy_for(url), auto_decompress=False) as session:
        client = ModelsLab(session, settings)
        try:
            found = await client.balance()
        except ModelsLabError as error:
            match error.failure:
                case Failure.NO_ANSWER:
                    return [no_answer(MODELSLAB, host, error.said, "MODELSLAB_URL"), unknown(KEY)]
                case Failure.NO_SENSE:
                    elsewhere = problem(MODELSLAB, f"{host} isn't ModelsLab ({error.said})", "fix MODELSLAB_URL")
                    return [elsewhere, unknown(KEY)]
                case Failure.KEY:
                    fix = "copy the key from ModelsLab's dashboard to MODELSLAB_API_KEY again"
                    return [problem(KEY, f"ModelsLab rejects it: {error.said}", fix)]
                case Failure.CREDITS | Failure.PLAN:
                    explained = FAILURES[error.failure]
                    return [accepted, problem(ACCOUNT, explained.why, explained.fix)]
                case _:
                    return [unknown(KEY, f"{FAILURES[error.failure].why}: {error.said}")]
        listed = await asyncio.gather(
            _list(OWN_MODELS, client.own_models(LIMITS[ModelGroup.OWN])),
            _list(PUBLIC_MODELS, client.public_models(1)),  # there are many, and one shows that they can be read
        )
    return [accepted, *([ok(BALANCE, found or "unknown")] if balance else []), *listed]


async def _list(about: str, reading: Awaitable[ModelList]) -> CheckResult:
    """Whether a list of models can be read. The bot works without it, so that is no problem."""
    try:
        models = await asyncio.wait_for(reading, LIST_SECONDS)
    except ModelsLabError as error:
        return unknown(about, f"the picker can't suggest them: {FAILURES[error.failure].why}: {error.said}")
    except TimeoutError:
        return unknown(about, f"the picker can't suggest them: no answer within {LIST_SECONDS:g} s")
    return ok(about, "listed" if models.cut_off else f"{len(models.ids)} listed")
