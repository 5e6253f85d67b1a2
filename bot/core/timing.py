"""How long things take and how often they happen, in one place, and the clock. Tests pass shorter times."""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """All values are in seconds."""

    sqlite_busy: float = 1.0
    """How long SQLite waits for another program's write lock."""
    sqlite_owner_wait: float = 15.0
    """How long a start waits for another process to release an SQLite file."""
    postgres_statement: float = 5.0
    """How long one statement on PostgreSQL can take."""
    postgres_lock: float = 1.5
    """How long one statement waits for a lock on PostgreSQL."""
    postgres_idle: float = 10.0
    """How long a transaction on PostgreSQL can stay idle, for example while its process is frozen."""
    postgres_silence: float = 8.0
    """How long PostgreSQL can stay silent before the connection is given up: longer than a statement can take."""
    database_stop: float = 2.0
    """How long queued transactions can take when the bot stops."""
    answer: float = 2.0
    """How long the transactions of a request can take in all: its answer has to reach Slack within 3 seconds."""
    lease: float = 10.0
    """How long a claimed job belongs to its claimer, unless renewed. See call_lease."""
    renew: float = 3.0
    """Between two renewals."""
    look: float = 1.0
    """How long the worker sleeps at most: rows of another replica don't wake it."""
    gather: float = 0.05
    """Between two claims, at least, so that jobs that become due together are claimed together."""
    database_retry: float = 0.5
    """Between two tries to record the outcome of a job."""
    database_log: float = 60.0
    """Between two log lines that the database is unavailable."""
    prune: float = 600.0
    """Between two searches for history that is too old."""
    stop: float = 6.0
    """How long running jobs can take when the worker stops. Docker kills 10 seconds after its signal."""
    channel_gap: float = 1.0
    """Between two messages in one channel: https://docs.slack.dev/apis/web-api/rate-limits"""
    call_retry: float = 30.0
    """Between two calls of ModelsLab for one model, at least: its spam filter refuses calls that come sooner."""
    post_retry: float = 1.0
    """Before a message is tried again the first time, then twice as long each time."""
    post_retry_most: float = 60.0
    """Before a message is tried again, at most, unless Slack asks for more."""
    trouble_after: float = 20.0
    """From a request to the report in its places that ModelsLab hasn't accepted it."""
    call_give_up: float = 600.0
    """From the first call of ModelsLab for a reload until one that fails is the last."""
    post_give_up: float = 1500.0
    """From the first try of a message until one that fails is the last."""
    bar_pause_most: float = 20.0
    """Between two moves of a status message's bar, a sixth of a reload passes, but no more than this."""
    bar_pause_least: float = 3.0
    """And no less than this."""
    bar_last: float = 3.0
    """Before a reload should be ready, bars stop moving: no edit must come after the follow-up."""
    bar_edit: float = 5.0
    """How long one move of a bar can take: less than stop, so that a stop waits for it."""
    suggestions: float = 3.0
    """How long the search for similar model IDs can take."""
    models_wait: float = 1.0
    """How long a search waits for lists of models that were never read, of the three seconds that Slack gives."""
    start_retry: float = 1.0
    """Before the database is tried again at the start, the first time; then twice as long each time."""
    start_retry_most: float = 5.0
    """The same, at most."""
    slack_retry: float = 1.0
    """Before Slack is tried again at the start or for a connection, the first time; then twice as long each time."""
    slack_retry_most: float = 30.0
    """The same, at most, unless Slack asks for more. A connection that lasted longer was a good one."""
    stuck: float = 15.0
    """How long a worker can go without looking for jobs before it is unhealthy."""
    probe: float = 1.0
    """How long the database can take for a transaction and still count as ready."""
    drain: float = 2.0
    """How long the port stays open in HTTP mode after the signal to stop, so that a load balancer notices."""
    exit: float = 7.5
    """How long stopping can take, even if something hangs. Docker kills 10 seconds after its signal."""
    http_body: float = 5.0
    """How long the body of a request can take to arrive."""
    http_keepalive: float = 620.0
    """How long a connection is kept for its next request: longer than in proxies, so that they close it first.

    A request can be lost on a connection that is just being closed, and a POST must not be sent twice. nginx and AWS
    wait 60 seconds, Azure 240, Google 600. https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries
    """
    http_linger: float = 1.0
    """How long the rest of a refused request is read, so that the refusal arrives before the connection ends."""
    http_stop: float = 1.0
    """How long requests in progress can take when the server stops."""
    socket_ping: float = 5.0
    """Between pings in Socket Mode. A connection without an answer for half as long again is replaced."""
    socket_handshake: float = 10.0
    """How long it can take to connect, and how long the bot keeps a connection that Slack is about to close."""
    groups_refresh: float = 300.0
    """Between reading a user group and reading it again."""
    groups_retry: float = 30.0
    """The same after a failure, the first time; then twice as long each time, up to groups_refresh."""
    groups_apart: float = 3.0
    """Between two calls of usergroups.users.list, which allows twenty a minute."""
    groups_keep: float = 3600.0
    """How long the last answer counts if Slack is unavailable: people removed meanwhile have access until then."""
    home_open: float = 600.0
    """How long a Home tab counts as open: Slack doesn't say when it is closed."""
    home_gather: float = 1.0
    """Between a change and the refresh of open Home tabs, so that changes that come together are one refresh."""
    home_per_tab: float = 0.6
    """Added to home_gather for each open tab, so that many tabs stay within Slack's limit."""

    @property
    def call_lease(self) -> float:
        """The lease of a call: ModelsLab's spam filter refuses a repeated call that comes sooner."""
        return max(self.lease, self.call_retry)


class SteadyClock:
    """A clock in seconds since the Unix epoch (UTC) that nobody can set. Changes to the system's time don't affect it.

    It also counts the time while the machine sleeps, if the system supports that: https://peps.python.org/pep-0418/
    """

    def __init__(self) -> None:
        self._steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        self._began = time.time() - time.clock_gettime(self._steady)

    def __call__(self) -> float:
        """The time now."""
        return self._began + time.clock_gettime(self._steady)
