"""What is counted and timed for Prometheus; every label has a small, known set of values. Knows nothing of HTTP.

prometheus_client takes 25 ms and 1.4 MiB to import, and is imported only where somebody will read the metrics.
https://prometheus.io/docs/practices/naming/
"""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from bot import __version__
from bot.core.models import JobKind
from bot.errors import Failure, ModelsLabError, ModelsLabRetryableError, SlackError, SlackRetryableError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
"""Of what Metrics.text returns: https://prometheus.io/docs/instrumenting/exposition_formats/"""

_COMMANDS = "reload_model_commands_total"
_RELOADS = "reload_model_reloads_total"
_UNDELIVERABLE = "reload_model_undeliverable_total"
_FOLLOW_UPS = "reload_model_follow_ups_total"
_FOLLOW_UP_LATE = "reload_model_follow_up_late_seconds"
_IN_FLIGHT = "reload_model_reloads_in_flight"
_IN_HAND = "reload_model_steps_in_hand"
_CLAIMS = "reload_model_claims_total"
_RETRIES = "reload_model_retries_total"
_CRASHES = "reload_model_step_crashes_total"
_LEASES_LOST = "reload_model_leases_lost_total"
_LOOP_LAG = "reload_model_loop_lag_seconds"
_LOOP_STILL = "reload_model_loop_still_seconds"
_MODELSLAB_TIME = "reload_model_modelslab_seconds"
_MODELSLAB_ERRORS = "reload_model_modelslab_errors_total"
_SLACK_ERRORS = "reload_model_slack_errors_total"
_LIMIT_WAITS = "reload_model_rate_limit_wait_seconds"
_BUILD = "reload_model_build_info"

_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric tells, its labels, and for a histogram its buckets."""

    told: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


COUNTERS: Mapping[str, Metric] = {
    _COMMANDS: Metric("Commands, by what came of them.", ("outcome",)),
    _RELOADS: Metric("Reloads that ModelsLab accepted, or that failed for good, by why.", ("result",)),
    _FOLLOW_UPS: Metric("Messages that told how a reload ended, by the way they went.", ("via",)),
    _UNDELIVERABLE: Metric("Messages that were promised and reached nobody in all the time there is."),
    _CLAIMS: Metric("Steps taken in hand by this process.", ("step",)),
    _RETRIES: Metric("Steps that failed and are to be tried again.", ("step",)),
    _CRASHES: Metric("Steps that ended in an error of the bot's own.", ("step",)),
    _LEASES_LOST: Metric("Steps that another process took over meanwhile."),
    _MODELSLAB_ERRORS: Metric("Calls of ModelsLab that it did not accept, by why.", ("failure",)),
    _SLACK_ERRORS: Metric("Calls of Slack that failed, by method and Slack's code.", ("method", "code")),
}

HISTOGRAMS: Mapping[str, Metric] = {
    _FOLLOW_UP_LATE: Metric(
        "From when a model should have been ready to when its follow-up was claimed for posting.",
        buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800),
    ),
    _LOOP_LAG: Metric(
        "From when a step was due to when the loop saw it.", buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
    ),
    _MODELSLAB_TIME: Metric("How long a call of ModelsLab took.", buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)),
    _LIMIT_WAITS: Metric("Pauses that a service asked for.", ("service",), (1, 2.5, 5, 10, 30, 60, 300)),
}

GAUGES: Mapping[str, Metric] = {
    _IN_FLIGHT: Metric("Reloads that have not ended, in the whole database; NaN while it is away."),
    _IN_HAND: Metric("Steps that this process is taking now.", ("step",)),
    _LOOP_STILL: Metric("Seconds since the loop turned last."),
    _BUILD: Metric("Always 1; the labels tell what runs.", ("version", "python")),
}

_METHODS = frozenset(
    {"auth.test", "chat.postMessage", "chat.update", "conversations.open", "response_url", "usergroups.users.list"}
)

CODES = frozenset(
    {
        # the token
        *("account_inactive", "invalid_auth", "missing_scope", "not_authed", "token_expired", "token_revoked"),
        # the place
        *("cannot_dm_bot", "channel_not_found", "is_archived", "not_in_channel", "restricted_action", "user_not_found"),
        *("message_not_found", "thread_not_found", "response_url_spent", "user_disabled"),
        *("no_such_subteam", "plan_upgrade_required"),
        # the message
        *("invalid_blocks", "msg_blocks_too_long", "msg_too_long", "no_text"),
        # the moment
        *("fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout", "service_unavailable"),
        *("http_500", "http_502", "http_503", "http_504", "no_sense", "response_url_ratelimited"),
        *("response_url_500", "response_url_502", "response_url_503", "response_url_504"),
        # the way there
        *("ClientConnectorError", "ClientOSError", "ClientPayloadError", "ServerDisconnectedError", "TimeoutError"),
        *("response_url_ClientConnectorError", "response_url_ServerDisconnectedError", "response_url_TimeoutError"),
    }
)
"""The codes that slack_errors names: https://docs.slack.dev/reference/methods/chat.postMessage#errors"""


class Metrics:
    """Counts what happens where it is to be read; else every method does nothing."""

    def __init__(self, *, read: bool = False) -> None:
        """read is whether anybody will ask for the text."""
        self._registry: CollectorRegistry | None = None
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self._gauges: dict[str, Gauge] = {}
        if read:
            self._make()

    def _make(self) -> None:
        import prometheus_client as prometheus  # noqa: PLC0415 - see above

        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = prometheus.CollectorRegistry()
        for name, metric in COUNTERS.items():
            self._counters[name] = prometheus.Counter(name, metric.told, metric.labels, registry=registry)
        for name, metric in HISTOGRAMS.items():
            self._histograms[name] = prometheus.Histogram(
                name, metric.told, metric.labels, buckets=metric.buckets, registry=registry
            )
        for name, metric in GAUGES.items():
            self._gauges[name] = prometheus.Gauge(name, metric.told, metric.labels, registry=registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Prometheus sees an increase only of what it has seen before."""
        self._gauges[_BUILD].labels(__version__, platform.python_version()).set(1)
        for outcome in ("requested", "not_recorded", "uncertain", "internal_error"):
            self._add(_COMMANDS, outcome, by=0)
        self._add(_RELOADS, "accepted", by=0)
        for failure in Failure:
            self._add(_RELOADS, failure.value, by=0)
            self._add(_MODELSLAB_ERRORS, failure.value, by=0)
        for kind in JobKind:
            self._gauges[_IN_HAND].labels(kind.value)
            for name in (_CLAIMS, _RETRIES, _CRASHES):
                self._add(name, kind.value, by=0)

    def text(self, *, in_flight: float, still: float) -> bytes:
        """All of it, as Prometheus reads it, with the reloads in flight and the seconds since the loop turned."""
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - see above

        for name, value in ((_IN_FLIGHT, in_flight), (_LOOP_STILL, still)):
            if gauge := self._gauges.get(name):
                gauge.set(value)
        return generate_latest(self._registry or CollectorRegistry())

    def _add(self, name: str, *labels: str, by: float = 1) -> None:
        if counter := self._counters.get(name):
            (counter.labels(*labels) if labels else counter).inc(by)

    def _observe(self, name: str, value: float, *labels: str) -> None:
        if histogram := self._histograms.get(name):
            (histogram.labels(*labels) if labels else histogram).observe(value)

    # --- people -------------------------------------------------------------------------------------

    def command(self, outcome: str) -> None:
        """A command was answered; outcome is one of the code's own words, as in the log."""
        self._add(_COMMANDS, outcome)

    # --- the loop -----------------------------------------------------------------------------------

    def due(self, lag: float) -> None:
        """The loop saw a step that had been due for so many seconds."""
        self._observe(_LOOP_LAG, lag)

    def claimed(self, kind: JobKind) -> None:
        """A step was taken in hand."""
        self._add(_CLAIMS, kind.value)
        if gauge := self._gauges.get(_IN_HAND):
            gauge.labels(kind.value).inc()

    def ended(self, kind: JobKind) -> None:
        """A step is in hand no more."""
        if gauge := self._gauges.get(_IN_HAND):
            gauge.labels(kind.value).dec()

    def retried(self, kind: JobKind) -> None:
        """A step failed and is to be tried again."""
        self._add(_RETRIES, kind.value)

    def crashed(self, kind: JobKind) -> None:
        """A step ended in an error of the bot's own."""
        self._add(_CRASHES, kind.value)

    def lease_lost(self) -> None:
        """Another process took a step over."""
        self._add(_LEASES_LOST)

    # --- how reloads end ----------------------------------------------------------------------------

    def accepted(self) -> None:
        """ModelsLab accepted a reload."""
        self._add(_RELOADS, "accepted")

    def failed(self, failure: Failure) -> None:
        """A reload failed for good."""
        self._add(_RELOADS, failure.value)

    def told(self, via: str, late: float | None) -> None:
        """A reload's end was told, so many seconds late; None for one that failed, which has no time to keep."""
        self._add(_FOLLOW_UPS, via)
        if late is not None:
            self._observe(_FOLLOW_UP_LATE, late)

    def undeliverable(self) -> None:
        """A reload's end could be told to nobody."""
        self._add(_UNDELIVERABLE)

    # --- the services -------------------------------------------------------------------------------

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Time a call of ModelsLab, and count how it fails."""
        began = perf_counter()
        try:
            yield
        except ModelsLabError as failed:
            self._add(_MODELSLAB_ERRORS, failed.failure.value)
            if isinstance(failed, ModelsLabRetryableError) and failed.wait is not None:
                self._observe(_LIMIT_WAITS, failed.wait, "modelslab")
            raise
        finally:
            self._observe(_MODELSLAB_TIME, perf_counter() - began)

    @contextmanager
    def posting(self, method: str) -> Iterator[None]:
        """Count how a call of Slack fails."""
        try:
            yield
        except SlackError as failed:
            self._add(_SLACK_ERRORS, _known(method, _METHODS), _known(failed.code, CODES))
            if isinstance(failed, SlackRetryableError) and failed.wait is not None:
                self._observe(_LIMIT_WAITS, failed.wait, "slack")
            raise


def _known(word: str, words: frozenset[str]) -> str:
    return word if word in words else _OTHER
