"""Checks of ModelsLab, by a call that costs nothing: https://docs.modelslab.com."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import aiohttp

from bot.errors import Failure, ModelsLabError
from bot.modelslab.client import ModelsLab
from bot.ops.doctor.results import CheckResult, no_answer, ok, problem, unknown
from bot.ops.logging import Redactor
from bot.settings import Settings
from bot.ui.reasons import FAILURES

MODELSLAB, KEY, ACCOUNT, BALANCE = "ModelsLab", "ModelsLab key", "ModelsLab account", "ModelsLab balance"


async def check(settings: Settings, *, balance: bool) -> Sequence[CheckResult]:
    """Check ModelsLab and its key. The account's balance is shown only if asked for."""
    url = settings.modelslab_url
    host = urlsplit(url).netloc
    accepted = ok(KEY, f"accepted by {host}")
    async with aiohttp.ClientSession(proxy=settings.proxy_for(url), auto_decompress=False) as session:
        client = ModelsLab(session, url, settings.modelslab_api_key, Redactor(settings.secrets))
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
    return [accepted, *([ok(BALANCE, found or "unknown")] if balance else [])]
