"""A reload, its watchers and its steps, made with only what a test cares about."""

from dataclasses import replace

from bot.core.models import Job, JobKind, Reload, State, Subscriber, Work

NOON = 1_700_049_600.0
"""2023-11-15 12:00:00 UTC."""

ADA, BEN = "U0ADA", "U0BEN"
MODELS, OPS = "C0MODELS", "C0OPS"

RELOAD = Reload(id="r4x7", model_id="sdxl", state=State.REQUESTED, asked_at=NOON)
ACCEPTED = replace(RELOAD, state=State.ACCEPTED, accepted_at=NOON + 1, ready_at=NOON + 121)


def watcher(
    id_: int = 1,
    user_id: str = ADA,
    channel_id: str = MODELS,
    *,
    asked_at: float = NOON,
    response_url: str = "",
    response_uses: int = 0,
    told_at: float | None = None,
) -> Subscriber:
    """Somebody who asked."""
    return Subscriber(
        id=id_,
        reload_id=RELOAD.id,
        user_id=user_id,
        channel_id=channel_id,
        asked_at=asked_at,
        response_url=response_url,
        response_uses=response_uses,
        told_at=told_at,
    )


def step(
    kind: JobKind = JobKind.FOLLOW_UP,
    *,
    channel_id: str = MODELS,
    watcher_id: int | None = None,
    tried_at: float = NOON,
) -> Job:
    """A step that was claimed for the first time."""
    return Job(
        id=1,
        reload_id=RELOAD.id,
        kind=kind,
        channel_id=channel_id,
        watcher_id=watcher_id,
        tried_at=tried_at,
        claims=1,
        attempts=0,
        crashes=0,
    )


def work(*watchers: Subscriber, item: Job | None = None, status_ts: str = "", now: float = NOON) -> Work:
    """A step with all that it takes to do it."""
    return Work(item or step(), ACCEPTED, watchers, status_ts, now)
