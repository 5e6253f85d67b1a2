"""How long things take and how often they happen, in one place. Tests pass shorter ones."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """All figures are seconds."""

    sqlite_busy: float = 1.0
    """How long SQLite waits for another program's write lock."""
    sqlite_owner_wait: float = 15.0
    """How long a start waits for another process to let go of an SQLite file."""
    postgres_statement: float = 5.0
    """How long one statement on PostgreSQL can take."""
    postgres_lock: float = 1.5
    """How long one waits for a lock on PostgreSQL."""
    postgres_idle: float = 10.0
    """How long a transaction on PostgreSQL can stay idle, as where its process was stopped."""
    postgres_silence: float = 8.0
    """After which a connection is given up that brings no answer: longer than a statement can take."""
    database_stop: float = 2.0
    """What queued transactions get when the bot stops."""
    answer: float = 2.0
    """In which a request must be committed: the acknowledgement has to reach Slack within 3 s."""
    lease: float = 10.0
    """How long a claimed job belongs to its claimer, unless renewed."""
    renew: float = 3.0
    """Between two renewals."""
    look: float = 1.0
    """The longest that the worker sleeps: another replica's rows do not wake it."""
    gather: float = 0.05
    """Between two claims, at least, so that jobs which become due together are claimed together."""
    database_retry: float = 0.5
    """Between two tries to record what came of a job."""
    database_log: float = 60.0
    """Between two log lines that the database is unavailable."""
    prune: float = 600.0
    """Between two looks for history that is too old."""
    stop: float = 6.0
    """What running jobs get when the worker stops. Docker kills 10 s after its signal."""
    channel_gap: float = 1.0
    """Between two messages in one channel: https://docs.slack.dev/apis/web-api/rate-limits"""
    call_retry: float = 30.0
    """Between two calls of ModelsLab for one model, at least: its spam filter refuses quicker ones."""
    post_retry: float = 1.0
    """Before a message is tried again for the first time; then twice as long each time."""
    post_retry_most: float = 60.0
    """Before a message is tried again, at most, unless Slack asks for more."""
    trouble_after: float = 20.0
    """After a request: by then the channel is told if ModelsLab has not accepted it, and an attempt has failed."""
    call_give_up: float = 600.0
    """From the first call of ModelsLab for a reload to the last."""
    post_give_up: float = 1500.0
    """From the first try of a message to the last."""
    bar_every: float = 20.0
    """Between two moves of a status message's bar, at most: a sixth of the time that a reload takes."""
    bar_least: float = 3.0
    """Between two moves, at least."""
    bar_last: float = 3.0
    """Before a reload should be ready: no bar moves any more, since nothing must come after the follow-up."""
    bar_edit: float = 5.0
    """What one move of a bar may take: less than stop, so that a stop waits for it."""
    suggestions: float = 3.0
    """How long similar model IDs are looked for."""
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
    """After which a worker that has not turned is unhealthy."""
    probe: float = 1.0
    """In which the database must take a transaction to be called ready."""
    drain: float = 2.0
    """How long the port stays open in HTTP mode when the bot is told to stop, so that a balancer sees it go."""
    exit: float = 7.5
    """After which stopping is over, whatever still hangs. Docker kills 10 s after its signal."""
    http_body: float = 5.0
    """In which a request's body has to arrive."""
    http_keepalive: float = 620.0
    """How long a connection is kept for its next request: longer than proxies do, so that they close it.

    A request can be lost on a connection that is just being closed, and a POST must not be sent twice. nginx and AWS
    wait 60 s, Azure 240, Google 600. https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries
    """
    http_linger: float = 1.0
    """For the rest of a request that was refused, so that the refusal gets there before the connection ends."""
    http_stop: float = 1.0
    """For requests in progress when the server stops."""
    socket_ping: float = 5.0
    """Between pings of Socket Mode; a connection that stays silent for half as long again is replaced."""
    socket_handshake: float = 10.0
    """For a Socket Mode connection to be made, and for one that Slack is about to close to be done with."""
    groups_refresh: float = 300.0
    """From one good reading of a user group to the next."""
    groups_retry: float = 30.0
    """From a failed reading to the next, the first time; then twice as long each time, up to groups_refresh."""
    groups_apart: float = 3.0
    """Between two readings: usergroups.users.list allows twenty a minute."""
    groups_keep: float = 3600.0
    """How long the last good reading counts: somebody who was removed while Slack is unavailable is in until then."""
    home_open: float = 600.0
    """How long a Home tab counts as open: Slack does not say when it is closed."""
    home_gather: float = 1.0
    """From a change to the refresh of the open Home tabs, so that changes which come together are one."""
    home_per_tab: float = 0.6
    """The same for each open tab, so that many tabs stay within Slack's limit."""
