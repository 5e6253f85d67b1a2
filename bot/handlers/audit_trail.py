"""Records the outcome of each request: in the log, in the metrics, and in the database's audit."""

import structlog
from slack_bolt.async_app import AsyncBoltContext

from bot.core.access import Person
from bot.core.text import harmless
from bot.handlers.requests import Requests
from bot.ops import metrics
from bot.storage.history import Note
from bot.storage.requests import Requested

_WHAT_LIMIT = 128

log = structlog.get_logger(__name__)


class AuditTrail:
    """One line for each request. The context is that of bot.handlers.access."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def record(self, context: AsyncBoltContext, outcome: str, *, rule: str = "") -> None:
        """A request that asked for no reload, or was refused; rule is what refused it, if not what allowed it."""
        person: Person = context["person"]
        rule = rule or context["rule"]
        self._log(person, outcome, rule=rule)
        what = harmless(context["what"].strip(), _WHAT_LIMIT)
        self._requests.note(Note(person.user_id, person.team_id, person.channel_id, what, outcome, rule))

    def requested(self, context: AsyncBoltContext, requested: Requested) -> None:
        """A reload was requested; storage wrote its line to the audit in the same transaction."""
        reload = requested.reload
        self._log(context["person"], requested.outcome, rule=context["rule"], reload=reload.id, model=reload.model_id)

    def _log(self, person: Person, outcome: str, **more: str) -> None:
        metrics.COMMANDS.labels(outcome).inc()
        log.info("command", outcome=outcome, user=person.user_id, team=person.team_id, where=person.channel_id, **more)
