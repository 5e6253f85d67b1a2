"""How long things take and how often they happen, in one place, in seconds; and the clock. Tests shorten the times."""

import time

SQLITE_BUSY = 1.0
"""How long SQLite waits for another program's write lock."""
SQLITE_OWNER_WAIT = 15.0
"""How long a start waits for another process to release an SQLite file."""
POSTGRES_STATEMENT = 5.0
"""How long one statement on PostgreSQL can take."""
POSTGRES_LOCK = 1.5
"""How long one statement waits for a lock on PostgreSQL."""
POSTGRES_IDLE = 10.0
"""How long a transaction on PostgreSQL can stay idle, for example while its process is frozen."""
POSTGRES_SILENCE = 8.0
"""How long PostgreSQL can stay silent before the connection is given up: longer than a statement can take."""
DATABASE_STOP = 0.5
"""How long queued transactions can take when the bot stops."""
ANSWER = 2.0
"""How long the transactions of a request can take in all: its answer has to reach Slack within 3 seconds."""
LEASE = 10.0
"""How long a claimed job belongs to its claimer, unless renewed. See bot.storage.jobs.lease_of."""
RENEW = 3.0
"""Between two renewals."""
LOOK = 1.0
"""Longest sleep between two looks for jobs: rows of another replica don't wake this worker."""
GATHER = 0.05
"""Between two claims, at least, so that jobs that become due together are claimed together."""
DATABASE_RETRY = 0.5
"""Between two tries to record the outcome of a job."""
DATABASE_LOG = 60.0
"""Between two log lines that the database is unavailable."""
PRUNE = 600.0
"""Between two searches for history that is too old."""
STOP = 6.0
"""How long running jobs can take when the worker stops. Docker kills 10 seconds after its signal."""
CHANNEL_GAP = 1.0
"""Between two messages in one channel: https://docs.slack.dev/apis/web-api/rate-limits"""
CALL_RETRY = 30.0
"""Between two calls to ModelsLab for one model, at least: its spam filter refuses calls that come sooner."""
POST_RETRY = 1.0
"""First pause before a message is tried again; it doubles each time."""
POST_RETRY_MOST = 60.0
"""Longest such pause, unless Slack asks for more."""
TROUBLE_AFTER = 20.0
"""How long after a request its places hear that ModelsLab hasn't accepted it."""
CALL_GIVE_UP = 600.0
"""How long a reload is tried, from the first call to ModelsLab. A call that fails after that was the last."""
POST_GIVE_UP = 1500.0
"""How long a message is tried, from the first try. A try that fails after that was the last."""
BAR_PAUSE_MOST = 20.0
"""Between two moves of a status message's bar, a sixth of a reload passes, but no more than this."""
BAR_PAUSE_LEAST = 3.0
"""Shortest time between two moves of a bar."""
BAR_LAST = 3.0
"""How long before the follow-up is due bars stop moving, so that no edit arrives after it."""
BAR_EDIT = 5.0
"""How long one move of a bar can take: less than STOP, so that a stop waits for it."""
SUGGESTIONS = 3.0
"""How long the search for similar model IDs can take."""
MODELS_WAIT = 1.0
"""How long a search waits for lists of models that were never read, of the three seconds that Slack gives."""
START_RETRY = 1.0
"""First pause before the database is tried again at the start; it doubles each time."""
START_RETRY_MOST = 5.0
"""Longest such pause."""
SLACK_RETRY = 1.0
"""First pause before Slack is tried again, at the start or for a connection; it doubles each time."""
SLACK_RETRY_MOST = 30.0
"""Longest such pause, unless Slack asks for more. A connection that lasted longer than this begins anew."""
STUCK = 15.0
"""How long a worker can go without looking for jobs before it is unhealthy."""
PROBE = 1.0
"""How long the database can take for a transaction and still count as ready."""
DRAIN = 2.0
"""How long the port stays open in HTTP mode after the signal to stop, so that a load balancer notices."""
EXIT = 7.5
"""How long stopping can take, even if something hangs. Docker kills 10 seconds after its signal."""
HTTP_BODY = 5.0
"""How long the body of a request can take to arrive."""
HTTP_KEEPALIVE = 620.0
"""How long a connection is kept for its next request: longer than in proxies, so that they close it first.

A request can be lost on a connection that is just being closed, and a POST must not be sent twice. nginx and AWS
wait 60 seconds, Azure 240, Google 600. https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries
"""
HTTP_LINGER = 1.0
"""How long the rest of a refused request is read, so that the refusal arrives before the connection ends."""
HTTP_STOP = 1.0
"""How long requests in progress can take when the server stops."""
SOCKET_PING = 5.0
"""Between pings in Socket Mode. A connection without an answer for half as long again is replaced."""
SOCKET_HANDSHAKE = 10.0
"""How long it can take to connect, and how long the bot keeps a connection that Slack is about to close."""
GROUPS_REFRESH = 300.0
"""Between reading a user group and reading it again."""
GROUPS_RETRY = 30.0
"""The same after a failure, the first time; then twice as long each time, up to GROUPS_REFRESH."""
GROUPS_APART = 3.0
"""Between two calls of usergroups.users.list, which allows twenty a minute."""
GROUPS_KEEP = 3600.0
"""How long the last answer counts if Slack is unavailable: people removed meanwhile have access until then."""
HOME_OPEN = 600.0
"""How long a Home tab counts as open: Slack doesn't say when it is closed."""
HOME_GATHER = 1.0
"""Between a change and the refresh of open Home tabs, so that changes that come together are one refresh."""
HOME_PER_TAB = 0.6
"""Added to HOME_GATHER for each open tab, so that many tabs stay within Slack's limit."""


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BEGAN = time.time() - time.clock_gettime(_STEADY)


def steady_time() -> float:
    """Seconds since the Unix epoch (UTC), by a clock that nobody can set: changes to the system's don't affect it.

    It also counts the time while the machine sleeps, if the system supports that: https://peps.python.org/pep-0418/
    """
    return _BEGAN + time.clock_gettime(_STEADY)
