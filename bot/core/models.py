"""A reload, the people who requested it, and the jobs that carry it to its end.

    REQUESTED ──accepted──► ACCEPTED ──due──► NOTIFYING ──everyone notified──► DONE
        └──────refused or given up──────────────►┘

All times are seconds since the Unix epoch (UTC).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bot.errors import Failure

LATE = 5.0
"""Seconds after which a follow-up says that it is late."""

LATE_AFTER_START = 1.0
"""The same, if the follow-up was due before this process started."""

REPEAT_AFTER = 5.0
"""*Reload again* is offered after this many times the length of a reload."""

DAY = 86400.0

UNLOADED_AFTER = 7 * DAY
"""Seconds without use after which ModelsLab unloads a model."""

REMIND_AFTER = 6 * DAY
"""Seconds from when a model should have been ready to its reminder: a day before it can be unloaded."""

REST = math.inf
"""The due time of a job that rests until something else makes it due; also that wait."""

RESPONSE_URL_SECONDS = 1800.0
RESPONSE_URL_USES = 5
"""https://docs.slack.dev/interactivity/handling-user-interaction#message_responses"""


class ModelGroup(StrEnum):
    """Where a model ID is known from, in the order in which IDs are offered."""

    RELOADED = "reloaded"
    """Reloaded here before."""
    OWN = "own"
    """The ModelsLab account's own."""
    PUBLIC = "public"


class State(StrEnum):
    """Where a reload stands."""

    REQUESTED = "requested"
    ACCEPTED = "accepted"
    NOTIFYING = "notifying"
    DONE = "done"


IN_FLIGHT = (State.REQUESTED, State.ACCEPTED)
"""In these states, a request for the same model joins the reload."""


class JobKind(StrEnum):
    """What is to be done for a reload, or for a request for access."""

    CALL = "call"
    """Ask ModelsLab for the reload."""
    STATUS = "status"
    """Post the status message of a place, move its bar, and show the result."""
    NOTIFY = "notify"
    """Post the follow-up or the failure in a place."""
    DM = "dm"
    """Send a subscriber the same as a direct message, if the channel couldn't be reached."""
    REMINDER = "reminder"
    """Remind a person, by direct message, that a model will be unloaded."""
    ACCESS_REQUEST = "access_request"
    """Show a request for access to an admin, or in ADMIN_CHANNEL, and later how it was decided."""
    ACCESS_ANSWER = "access_answer"
    """Tell the person, by direct message, how their request for access was decided."""


PRIORITY = {
    JobKind.NOTIFY: 0,
    JobKind.DM: 1,
    JobKind.CALL: 2,
    JobKind.REMINDER: 3,
    JobKind.ACCESS_ANSWER: 4,
    JobKind.ACCESS_REQUEST: 5,
    JobKind.STATUS: 6,
}
"""Jobs that are due run in this order, the lowest number first: guaranteed ones before best-effort ones."""


class Stage(StrEnum):
    """How far a reload is in one place, which the status message shows."""

    TRYING = "trying"
    """ModelsLab hasn't accepted the reload yet."""
    WAITING = "waiting"
    """ModelsLab has accepted it, and the follow-up is still to come."""
    NOTIFIED = "notified"
    """The place has had its follow-up."""


@dataclass(frozen=True, slots=True)
class Reload:
    """One reload of one model; failure is None unless it failed.

    said is ModelsLab's own text: why the reload failed, or that the model was loading already. similar are the IDs of
    models that may have been meant. outcome_unknown means that ModelsLab may have carried out a call without the bot
    seeing an acceptance.
    """

    id: str
    model_id: str
    state: State
    requested_at: float
    accepted_at: float | None = None
    ready_at: float | None = None
    ended_at: float | None = None
    failure: Failure | None = None
    said: str = ""
    similar: Sequence[str] = ()
    outcome_unknown: bool = False
    undeliverable: bool = False

    @property
    def ready_by(self) -> float:
        """When it should be ready, or when it was requested if ModelsLab hasn't accepted it."""
        return self.requested_at if self.ready_at is None else self.ready_at


class Place(NamedTuple):
    """Where people request reloads and get their answers: a channel, or a thread in one."""

    channel_id: str = ""
    thread_ts: str = ""


class Placed:
    """Something in a place."""

    __slots__ = ()
    channel_id: str
    thread_ts: str

    @property
    def place(self) -> Place:
        """Its channel or thread."""
        return Place(self.channel_id, self.thread_ts)


NOWHERE = Place()
"""No place: for the Home tab, and for direct messages that the bot sends."""


@dataclass(frozen=True, slots=True)
class Person(Placed):
    """The author of a request, and the channel that it is about ("" if there is none).

    private means that the channel isn't known to be public. thread_ts is the thread in the channel, "" for the channel
    itself. team_id and enterprise_id are the person's own, or "" if the payload doesn't say. team_id can be the ID of
    an organisation. by_command means that they used the slash command, which strangers can't.
    """

    user_id: str
    team_id: str
    channel_id: str
    enterprise_id: str = ""
    private: bool = True
    thread_ts: str = ""
    by_command: bool = False


@dataclass(frozen=True, slots=True)
class Subscriber(Placed):
    """One request of one person for a reload, in one place. notified_at is when they were notified of the result.

    private means that the channel isn't known to be public.
    """

    id: int
    reload_id: str
    user_id: str
    channel_id: str
    requested_at: float
    response_url: str = ""
    response_url_uses: int = 0
    notified_at: float | None = None
    private: bool = True
    thread_ts: str = ""

    def is_known_to(self, viewer: Person) -> bool:
        """Whether a viewer is allowed to see who this is: requests in the same channel, and their own."""
        return viewer.user_id == self.user_id or viewer.channel_id == self.channel_id

    def can_respond(self, now: float, *, spare: int = 0) -> bool:
        """Whether this request's response_url can still carry a message, and so many more after it."""
        fresh = now - self.requested_at < RESPONSE_URL_SECONDS
        return bool(self.response_url) and fresh and self.response_url_uses + spare < RESPONSE_URL_USES


@dataclass(frozen=True, slots=True)
class Requested:
    """The result of a request as of now: its reload, the first subscriber, and whether it joined a running reload.

    again: the person had requested it before. repeated: nothing was written, because the request came twice or the
    person was already on the list.
    """

    reload: Reload
    first: Subscriber
    now: float
    joined: bool
    again: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Job(Placed):
    """A job as it was claimed.

    fence is the fencing number: it tells this claim from every other claim of the same job. attempts counts the tries
    that ended in a recorded failure, crashes those that ended in an error of ours or the death of a process.
    subscriber_id is who a DM is for, user_id who a reminder is for, status_ts the status message that was posted. For
    a request for access, access_id is its ID, user_id the admin who is asked ("" in ADMIN_CHANNEL) or the person who is
    answered, and status_ts the message; reload_id is "".
    """

    id: int
    reload_id: str
    kind: JobKind
    channel_id: str
    subscriber_id: int | None
    user_id: str
    first_tried_at: float
    fence: int
    attempts: int
    crashes: int
    status_ts: str = ""
    thread_ts: str = ""
    access_id: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed job with everything needed to run it, as of now (by the database's clock).

    status_ts is the status message in the job's place, stage how far the reload is there.
    """

    job: Job
    reload: Reload
    subscribers: Sequence[Subscriber]
    now: float
    status_ts: str = ""
    stage: Stage = Stage.WAITING

    @property
    def must_wait(self) -> bool:
        """Whether the notification can't begin yet, because somebody is just joining the reload."""
        return self.job.kind in (JobKind.NOTIFY, JobKind.DM) and self.reload.state is State.ACCEPTED

    @property
    def in_place(self) -> list[Subscriber]:
        """The requests made in the job's place, oldest first."""
        return [subscriber for subscriber in self.subscribers if subscriber.place == self.job.place]

    @property
    def recipients(self) -> list[Subscriber]:
        """Who this job still has to notify: everyone in its place, or the person a DM is for.

        A person with two requests in the place gets one DM, for the first.
        """
        waiting = [subscriber for subscriber in self.in_place if subscriber.notified_at is None]
        if self.job.subscriber_id is None:
            return waiting
        first = {subscriber.user_id: subscriber.id for subscriber in reversed(self.in_place)}
        return [one for one in waiting if one.id == self.job.subscriber_id == first[one.user_id]]


@dataclass(frozen=True, slots=True)
class ListedReload:
    """A reload in a list as of now, with all requests for it, oldest first."""

    reload: Reload
    subscribers: Sequence[Subscriber]
    now: float = 0.0

    @property
    def people(self) -> int:
        """How many people requested it, in however many requests."""
        return len({subscriber.user_id for subscriber in self.subscribers})

    def known_to(self, viewer: Person) -> Subscriber | None:
        """The first requester whose name the viewer is allowed to see, or None."""
        return next((one for one in self.subscribers if one.is_known_to(viewer)), None)

    def is_private(self, viewer: Person) -> bool:
        """Whether the viewer is only allowed to see the model and its state, because it began in private elsewhere."""
        return self.subscribers[0].private and self.known_to(viewer) is None


@dataclass(frozen=True, slots=True)
class Reminder:
    """A DM that a person gets before a model is unloaded. It counts from the model's last accepted reload.

    due_at is None after the person has been reminded: then the reminder waits for the next reload.
    """

    model_id: str
    due_at: float | None


@dataclass(frozen=True, slots=True)
class HomeData:
    """What one person's Home tab shows.

    running are the first of count running reloads, reminders the first of reminder_count.
    """

    running: Sequence[ListedReload]
    count: int
    recent: Sequence[ListedReload]
    reminders: Sequence[Reminder]
    reminder_count: int
