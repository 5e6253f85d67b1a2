"""A reload, its states, and the rules between them. Pure: knows nothing of Slack, HTTP, SQL or the clock.

    REQUESTED ──accepted──► ACCEPTED ──due──► TELLING ──told──► DONE
        └─────refused, given up────────────────►┘

All times are seconds since the Unix epoch (UTC).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bot.errors import Failure

LATE = 5.0
AWAY_LATE = 1.0
"""Seconds after which a follow-up says that it is late: in general, and where it was due before this process began."""

A_WHILE = 5.0
"""Times as long as a reload takes, after which its model may be wanted anew: before that, nobody is offered it."""

DAY = 86400.0

IDLE_AFTER = 7 * DAY
"""Seconds without use after which ModelsLab takes a model off its servers."""

REMIND_AFTER = 6 * DAY
"""Seconds from when a model should have been ready to when somebody is reminded of it: a day before it may idle out."""

RESPONSE_URL_SECONDS = 1800.0
RESPONSE_URL_USES = 5
"""https://docs.slack.dev/interactivity/handling-user-interaction#message_responses"""


def a_while(reload_seconds: float) -> float:
    """Seconds after a reload's end until it is offered to reload its model again."""
    return A_WHILE * reload_seconds


class State(StrEnum):
    """Where a reload stands."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    TELLING = "telling"
    DONE = "done"


IN_FLIGHT = (State.REQUESTED, State.ACCEPTED)
"""While a reload is in one of these, whoever asks for its model joins it."""


class JobKind(StrEnum):
    """What is to be done next for a reload."""

    CALL = "call"
    STATUS = "status"
    FOLLOW_UP = "follow_up"
    DIRECT = "direct"
    CLOSE = "close"
    REMIND = "remind"
    BAR = "bar"


RANKS = {
    JobKind.FOLLOW_UP: 0,
    JobKind.DIRECT: 1,
    JobKind.CALL: 2,
    JobKind.REMIND: 3,
    JobKind.STATUS: 4,
    JobKind.CLOSE: 5,
    JobKind.BAR: 6,
}
"""Of the steps that are due, the lowest rank goes first: what was promised before what is a comfort."""


@dataclass(frozen=True, slots=True)
class Reload:
    """One reload of one model; failure is None unless ModelsLab did not accept it."""

    id: str
    model_id: str
    state: State
    asked_at: float
    accepted_at: float | None = None
    ready_at: float | None = None
    ended_at: float | None = None
    failure: Failure | None = None
    said: str = ""
    unknown: bool = False
    undeliverable: bool = False


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One person's asking for a reload, in one channel; told_at is when its end was told to them."""

    id: int
    reload_id: str
    user_id: str
    channel_id: str
    asked_at: float
    response_url: str = ""
    response_uses: int = 0
    told_at: float | None = None

    def can_respond(self, now: float) -> bool:
        """Whether this person's response_url should still carry a message."""
        fresh = now - self.asked_at < RESPONSE_URL_SECONDS
        return bool(self.response_url) and fresh and self.response_uses < RESPONSE_URL_USES


@dataclass(frozen=True, slots=True)
class Job:
    """The next thing to do for a reload, as claimed: claims tells this claim from any other of the same step.

    attempts counts the tries that ended in a recorded failure, crashes those that ended in none; person_id is whom a
    reminder is for.
    """

    id: int
    reload_id: str
    kind: JobKind
    channel_id: str
    watcher_id: int | None
    tried_at: float
    claims: int
    attempts: int
    crashes: int
    person_id: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed step with all that it takes to do it, as of now (by the store's clock)."""

    step: Job
    reload: Reload
    watchers: Sequence[Subscriber]
    status_ts: str
    now: float

    @property
    def audience(self) -> list[Subscriber]:
        """Those whom this step is to tell: the step's own watcher, or all who asked in its channel.

        A person who asked twice in the channel has two steps of their own there; the first tells them.
        """
        untold = [watcher for watcher in self.askers if watcher.told_at is None]
        if self.step.watcher_id is None:
            return untold
        firsts = {watcher.user_id: watcher.id for watcher in reversed(self.askers)}
        return [watcher for watcher in untold if watcher.id == self.step.watcher_id == firsts[watcher.user_id]]

    @property
    def askers(self) -> list[Subscriber]:
        """All who asked in the step's channel, told or not."""
        return [watcher for watcher in self.watchers if watcher.channel_id == self.step.channel_id]


@dataclass(frozen=True, slots=True)
class Entry:
    """A reload in a list as of now (by the store's clock), with who asked for it first and how many asked in all."""

    reload: Reload
    first: Subscriber
    askers: int
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Reminder:
    """A person's wish to hear, by DM, when a model is about to idle out; channel_id is where they said so.

    It is of the model's last accepted reload, reload_id, which should have been ready at ready_at. due_at is None once
    that was told: then it waits for the next reload.
    """

    model_id: str
    reload_id: str
    channel_id: str
    ready_at: float
    due_at: float | None


@dataclass(frozen=True, slots=True)
class HomeData:
    """What one person sees at a glance, as of now (by the store's clock).

    in_flight are some of the count reloads that have not ended, history the last that have, reminders the person's.
    """

    in_flight: Sequence[Entry]
    count: int
    history: Sequence[Entry]
    reminders: Sequence[Reminder]
    now: float
