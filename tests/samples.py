"""A reload, its subscribers and a claimed job of it, made with only what a test cares about; and texts of any kind."""

from dataclasses import replace
from typing import Any

from aiohttp import ClientSession
from hypothesis import strategies as st

from bot.core.command import Word
from bot.core.models import Claim, Job, JobKind, Reload, State, Subscriber
from bot.sandbox.slack.service import SandboxSlack
from bot.settings import read
from bot.slack.client import SlackClient

NOON = 1_700_049_600.0
"""2023-11-15 12:00:00 UTC."""

ADA, BEN = "U0ADA", "U0BEN"
MODELS, OPS = "C0MODELS", "C0OPS"

RELOAD = Reload(id="r4x7", model_id="sdxl", state=State.REQUESTED, requested_at=NOON)
ACCEPTED = replace(RELOAD, state=State.ACCEPTED, accepted_at=NOON + 1, ready_at=NOON + 121)


def client_of(slack: SandboxSlack, session: ClientSession) -> SlackClient:
    """The bot's client of a Slack."""
    return SlackClient(session, read({"SLACK_BOT_TOKEN": slack.bot_token, "SLACK_API_URL": slack.api_url})[0])


def subscriber(
    id_: int = 1,
    user_id: str = ADA,
    channel_id: str = MODELS,
    **others: Any,  # noqa: ANN401 - any fields
) -> Subscriber:
    """Somebody who asked for the reload, with these fields."""
    asked = Subscriber(id=id_, reload_id=RELOAD.id, user_id=user_id, channel_id=channel_id, requested_at=NOON)
    return replace(asked, **others)


def job(kind: JobKind = JobKind.NOTIFY, **others: Any) -> Job:  # noqa: ANN401 - as above
    """A job that was claimed for the first time, with these fields."""
    return replace(Job(1, RELOAD.id, kind, MODELS, None, "", NOON, fence=1, attempts=0, crashes=0), **others)


def claim(*subscribers: Subscriber, of: Job | None = None, status_ts: str = "", now: float = NOON) -> Claim:
    """A job with all that it takes to run it."""
    return Claim(of or job(), ACCEPTED, subscribers, now, status_ts)


anything = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"]), max_size=100)
"""Any text. Hypothesis leaves surrogates out unless they are asked for."""

_SNIPPETS = [*Word, "sdxl", "statsu", "--help", "https://modelslab.com/models/x", "a" * 130]
_SNIPPETS += ["<!channel>", "&lt;", "\u202e", "\x00", "\ud800", *"`\"'<>&/-{} \n\u00a0\u200b\u201c\u201d"]

anything_typed = st.lists(st.sampled_from(_SNIPPETS) | anything, max_size=8).map("".join)
"""Words, IDs, and slips of both, in the middle of anything at all."""
