"""Counts and timings of this process for Prometheus. No label names a person, a channel or a model.

https://prometheus.io/docs/practices/naming/
"""

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from bot import __version__
from bot.core.models import JobKind
from bot.core.retry import PAUSE_LIMIT
from bot.errors import Failure, ModelsLabError, SlackError

for _collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):  # only what is counted here is served
    REGISTRY.unregister(_collector)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of series, and nobody reads them

COMMANDS = Counter("reload_model_commands", "Commands, by outcome.", ["outcome"])
RELOADS = Counter(
    "reload_model_reloads", "Reloads that ModelsLab accepted, or that failed for good, by reason.", ["result"]
)
FOLLOW_UPS = Counter(
    "reload_model_follow_ups", "Messages that said how a reload ended, by how they were delivered.", ["via"]
)
FOLLOW_UP_LATE = Histogram(
    "reload_model_follow_up_late_seconds",
    "From when a model should have been ready to when its follow-up was claimed for posting.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800),
)
UNDELIVERABLE = Counter("reload_model_undeliverable", "Follow-ups, failures and reminders that were given up.")
IN_FLIGHT = Gauge(
    "reload_model_reloads_in_flight",
    "Reloads that count towards MAX_IN_FLIGHT, in the whole database; NaN while it is unavailable.",
)
JOBS_RUNNING = Gauge("reload_model_jobs_running", "Jobs that this process runs now.", ["kind"])
JOBS_CLAIMED = Counter("reload_model_jobs_claimed", "Jobs that this process claimed.", ["kind"])
JOB_RETRIES = Counter("reload_model_job_retries", "Jobs that failed and are retried.", ["kind"])
JOB_CRASHES = Counter("reload_model_job_crashes", "Jobs that ended in an internal error.", ["kind"])
LEASES_LOST = Counter("reload_model_leases_lost", "Jobs that another process took over.")
WORKER_LAG = Histogram(
    "reload_model_worker_lag_seconds",
    "From when a job was due to when the worker found it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
WORKER_IDLE = Gauge("reload_model_worker_idle_seconds", "Seconds since the worker last looked for jobs.")
MODELSLAB_SECONDS = Histogram(
    "reload_model_modelslab_seconds", "Duration of a call to ModelsLab.", buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
)
MODELSLAB_ERRORS = Counter(
    "reload_model_modelslab_errors", "Calls that ModelsLab didn't accept, by reason.", ["failure"]
)
SLACK_SECONDS = Histogram(
    "reload_model_slack_seconds",
    "Duration of a call to Slack, by method.",
    ["method"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
SLACK_ERRORS = Counter(
    "reload_model_slack_errors", "Calls to Slack that failed, by method and code.", ["method", "code"]
)
REQUESTS_REFUSED = Counter(
    "reload_model_requests_refused",
    "Requests that didn't become a command, by HTTP status; in Socket Mode: dropped.",
    ["status"],
)
RATE_LIMIT_WAIT = Histogram(
    "reload_model_rate_limit_wait_seconds",
    "Pauses that a service asked for.",
    ["service"],
    buckets=(1, 2.5, 5, 10, 30, 60, 300),
)
BUILD_INFO = Gauge("reload_model_build_info", "Always 1.", ["version", "python"])
BUILD_INFO.labels(__version__, platform.python_version()).set(1)

# Prometheus only notices the increase of a series that existed before.
for _outcome in ("requested", "not_recorded", "not_changed", "uncertain", "unconfirmed", "internal_error"):
    COMMANDS.labels(_outcome)
for _result in ("accepted", *Failure):
    RELOADS.labels(_result)
for _failure in Failure:
    MODELSLAB_ERRORS.labels(_failure)
for _kind in JobKind:
    for _metric in (JOBS_RUNNING, JOBS_CLAIMED, JOB_RETRIES, JOB_CRASHES):
        _metric.labels(_kind)

# Slack's error codes are words, and so are this program's own. Anything else is "other".
_CODE = re.compile(r"[A-Za-z_]{1,60}(?:_\d{3})?", re.ASCII)
_CODES_LIMIT = 100
_codes: set[str] = set()


@contextmanager
def modelslab_call() -> Iterator[None]:
    """Time a call to ModelsLab, and count how it fails."""
    try:
        with MODELSLAB_SECONDS.time():
            yield
    except ModelsLabError as error:
        MODELSLAB_ERRORS.labels(error.failure).inc()
        if error.wait is not None:
            RATE_LIMIT_WAIT.labels("modelslab").observe(min(error.wait, PAUSE_LIMIT))
        raise


@contextmanager
def slack_call(method: str) -> Iterator[None]:
    """Time a call to Slack, and count how it fails."""
    try:
        with SLACK_SECONDS.labels(method).time():
            yield
    except SlackError as error:
        # There must be few codes, because Prometheus keeps each value of a label.
        code = "other"
        if _CODE.fullmatch(error.code) and len(_codes | {error.code}) <= _CODES_LIMIT:
            code = error.code
            _codes.add(code)
        SLACK_ERRORS.labels(method, code).inc()
        if error.wait is not None:
            RATE_LIMIT_WAIT.labels("slack").observe(min(error.wait, PAUSE_LIMIT))
        raise


def request_refused(status: str) -> None:
    """Count a request that didn't become a command."""
    REQUESTS_REFUSED.labels(status).inc()
