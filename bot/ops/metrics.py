"""What is counted and timed for Prometheus. Every label has a small, known set of values: no person, channel or model.

https://prometheus.io/docs/practices/naming/
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from bot import __version__
from bot.core.models import JobKind
from bot.errors import Failure, ModelsLabError, ModelsLabRetryableError, SlackError, SlackRetryableError

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of what Metrics.text returns."""

METHODS = frozenset(
    {"auth.test", "chat.postMessage", "chat.update", "conversations.open", "response_url", "usergroups.users.list"}
)

CODES = frozenset(
    {
        # the token
        *("account_inactive", "invalid_auth", "missing_scope", "not_authed", "token_expired", "token_revoked"),
        # the channel or the person
        *("cannot_dm_bot", "channel_not_found", "is_archived", "not_in_channel", "restricted_action", "user_not_found"),
        *("message_not_found", "thread_not_found", "response_url_spent", "user_disabled"),
        *("no_such_subteam", "plan_upgrade_required"),
        # the message
        *("invalid_blocks", "msg_blocks_too_long", "msg_too_long", "no_text"),
        # Slack itself, for now
        *("fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout", "service_unavailable"),
        *("http_500", "http_502", "http_503", "http_504", "no_sense", "response_url_ratelimited"),
        *("response_url_500", "response_url_502", "response_url_503", "response_url_504"),
        # the network
        *("ClientConnectorError", "ClientOSError", "ClientPayloadError", "ServerDisconnectedError", "TimeoutError"),
        *("response_url_ClientConnectorError", "response_url_ServerDisconnectedError", "response_url_TimeoutError"),
    }
)
"""The codes that slack_errors_total names; any other is "other".

https://docs.slack.dev/reference/methods/chat.postMessage#errors
"""

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the counters, and nobody reads them


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._commands = Counter("reload_model_commands", "Commands, by outcome.", ["outcome"], registry=registry)
        self._reloads = Counter(
            "reload_model_reloads",
            "Reloads that ModelsLab accepted, or that failed for good, by reason.",
            ["result"],
            registry=registry,
        )
        self._follow_ups = Counter(
            "reload_model_follow_ups",
            "Messages that said how a reload ended, by how they went.",
            ["via"],
            registry=registry,
        )
        self._follow_up_late = Histogram(
            "reload_model_follow_up_late_seconds",
            "From when a model should have been ready to when its follow-up was claimed for posting.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800),
            registry=registry,
        )
        self._undeliverable = Counter(
            "reload_model_undeliverable", "Follow-ups that reached nobody in all the time there is.", registry=registry
        )
        self._in_flight = Gauge(
            "reload_model_reloads_in_flight",
            "Reloads that have not ended, in the whole database; NaN while it is unavailable.",
            registry=registry,
        )
        self._running = Gauge(
            "reload_model_jobs_running", "Jobs that this process runs now.", ["kind"], registry=registry
        )
        self._claimed = Counter(
            "reload_model_jobs_claimed", "Jobs that this process claimed.", ["kind"], registry=registry
        )
        self._retries = Counter(
            "reload_model_job_retries", "Jobs that failed and are retried.", ["kind"], registry=registry
        )
        self._crashes = Counter(
            "reload_model_job_crashes", "Jobs that ended in an internal error.", ["kind"], registry=registry
        )
        self._leases_lost = Counter(
            "reload_model_leases_lost", "Jobs that another process took over.", registry=registry
        )
        self._worker_lag = Histogram(
            "reload_model_worker_lag_seconds",
            "From when a job was due to when the worker found it.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
            registry=registry,
        )
        self._worker_idle = Gauge(
            "reload_model_worker_idle_seconds", "Seconds since the worker last looked for jobs.", registry=registry
        )
        self._modelslab_time = Histogram(
            "reload_model_modelslab_seconds",
            "Duration of a call to ModelsLab.",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
            registry=registry,
        )
        self._modelslab_errors = Counter(
            "reload_model_modelslab_errors",
            "Calls that ModelsLab did not accept, by reason.",
            ["failure"],
            registry=registry,
        )
        self._slack_errors = Counter(
            "reload_model_slack_errors",
            "Calls to Slack that failed, by method and code.",
            ["method", "code"],
            registry=registry,
        )
        self._refused = Counter(
            "reload_model_requests_refused",
            "Requests that did not get as far as a command, by HTTP status; over Socket Mode: dropped.",
            ["status"],
            registry=registry,
        )
        self._limit_waits = Histogram(
            "reload_model_rate_limit_wait_seconds",
            "Pauses that a service asked for.",
            ["service"],
            buckets=(1, 2.5, 5, 10, 30, 60, 300),
            registry=registry,
        )
        build = Gauge("reload_model_build_info", "Always 1.", ["version", "python"], registry=registry)
        build.labels(__version__, platform.python_version()).set(1)
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        """Prometheus sees an increase only of a series that it has seen before."""
        for outcome in ("requested", "not_recorded", "uncertain", "internal_error"):
            self._commands.labels(outcome)
        self._reloads.labels("accepted")
        for failure in Failure:
            self._reloads.labels(failure.value)
            self._modelslab_errors.labels(failure.value)
        for kind in JobKind:
            for metric in (self._running, self._claimed, self._retries, self._crashes):
                metric.labels(kind.value)

    def text(self, *, in_flight: float, idle: float) -> bytes:
        """Everything in Prometheus's format, with the reloads in flight and the seconds since the worker looked."""
        self._in_flight.set(in_flight)
        self._worker_idle.set(idle)
        return generate_latest(self.registry)

    def command(self, outcome: str) -> None:
        """A command was answered. The outcome is one of the code's own words, as in the log."""
        self._commands.labels(outcome).inc()

    def refused(self, status: str) -> None:
        """A request was refused before anybody looked at what it asks for."""
        self._refused.labels(status).inc()

    def due(self, lag: float) -> None:
        """The worker found a job that had been due for so many seconds."""
        self._worker_lag.observe(lag)

    def claimed(self, kind: JobKind) -> None:
        """A job was claimed and runs."""
        self._claimed.labels(kind.value).inc()
        self._running.labels(kind.value).inc()

    def ended(self, kind: JobKind) -> None:
        """A job runs no longer."""
        self._running.labels(kind.value).dec()

    def retried(self, kind: JobKind) -> None:
        """A job failed and will be retried."""
        self._retries.labels(kind.value).inc()

    def crashed(self, kind: JobKind) -> None:
        """A job ended in an internal error."""
        self._crashes.labels(kind.value).inc()

    def lease_lost(self) -> None:
        """Another process took a job over."""
        self._leases_lost.inc()

    def accepted(self) -> None:
        """ModelsLab accepted a reload."""
        self._reloads.labels("accepted").inc()

    def failed(self, failure: Failure) -> None:
        """A reload failed for good."""
        self._reloads.labels(failure.value).inc()

    def notified(self, via: str, late: float | None) -> None:
        """People were notified of a reload's end, so many seconds late; None for a failure, which has no due time."""
        self._follow_ups.labels(via).inc()
        if late is not None:
            self._follow_up_late.observe(late)

    def undeliverable(self) -> None:
        """Nobody could be notified of a reload's end."""
        self._undeliverable.inc()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Time a call to ModelsLab, and count how it fails."""
        began = perf_counter()
        try:
            yield
        except ModelsLabError as error:
            self._modelslab_errors.labels(error.failure.value).inc()
            if isinstance(error, ModelsLabRetryableError) and error.wait is not None:
                self._limit_waits.labels("modelslab").observe(error.wait)
            raise
        finally:
            self._modelslab_time.observe(perf_counter() - began)

    @contextmanager
    def posting(self, method: str) -> Iterator[None]:
        """Count how a call to Slack fails."""
        try:
            yield
        except SlackError as error:
            known = method if method in METHODS else "other", error.code if error.code in CODES else "other"
            self._slack_errors.labels(*known).inc()
            if isinstance(error, SlackRetryableError) and error.wait is not None:
                self._limit_waits.labels("slack").observe(error.wait)
            raise
