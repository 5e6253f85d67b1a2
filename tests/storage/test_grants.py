"""Requests for access and grants, where no scenario gets: tests/scenarios/test_access.py shows the rest."""

import pytest

from bot.core.grants import ASK_AGAIN_AFTER, REQUEST_EXPIRES_AFTER, AccessRequest, RequestState
from bot.core.models import DAY, JobKind
from bot.core.outcomes import Done, Reschedule, RetryIn
from bot.errors import Refusal, Refused
from bot.storage import grants, history
from bot.storage.history import Note
from bot.storage.schema import audit
from tests.storage.support import HERE, Bot, LeaseLostError, outside

EVE, FAY, BOSS, CHIEF = "U0EVE", "U0FAY", "U0BOSS", "W0CHIEF"
ASKED, ANSWER = JobKind.ACCESS_REQUEST, JobKind.ACCESS_ANSWER

ALLOWED, DENIED = RequestState.ALLOWED, RequestState.DENIED


def note(user: str, outcome: str = "access_granted") -> Note:
    """A line of the audit whose text storage fills in."""
    return Note(user, "T0HOME", HERE, "pressed", outcome, "ADMIN_USERS")


async def ask(bot: Bot, user: str = EVE) -> str:
    """Ask both admins for access, and return the request's ID."""
    asked = await bot.run(grants.ask, note(user, "access_requested"), "sdxl", (BOSS, CHIEF), "")
    assert asked is not None
    return asked.id


async def decide(bot: Bot, id_: str, state: RequestState = ALLOWED, admin: str = BOSS) -> AccessRequest:
    """Decide on a request."""
    return await bot.run(grants.decide, note(admin, f"access_{state}"), id_, state)


async def refusal(bot: Bot, id_: str) -> Refused:
    """How a decision that comes too late is refused."""
    with pytest.raises(Refused) as raised:
        await decide(bot, id_, DENIED, CHIEF)
    return raised.value


async def test_a_request_expires_after_seven_days(bot: Bot) -> None:
    """Then it can't be decided any more, its messages and its answer are due, and the person can ask again.

    Nor in its last minute: the decision might be committed after the person has read that nobody decided.
    """
    first = await ask(bot)
    for claim in await bot.claim_access():
        await bot.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))
    assert await bot.due_in(ASKED, ANSWER) == REQUEST_EXPIRES_AFTER
    await bot.elapse(REQUEST_EXPIRES_AFTER - 59.0)
    assert (await refusal(bot, first)).reason is Refusal.ALREADY_DECIDED
    await bot.elapse(59.0)

    assert (await refusal(bot, first)).data == (await refusal(bot, "nosuch")).data == {"decided_by": ""}
    assert await bot.run(grants.standing, EVE) is None
    second = await ask(bot)
    claims = await bot.claim_access()
    due = [(claim.job.kind, claim.request.is_open(claim.now)) for claim in claims if claim.request.id == first]
    assert due == [(ANSWER, False), (ASKED, False), (ASKED, False)]
    assert (await decide(bot, second)).state is ALLOWED


async def test_a_message_that_is_being_posted_during_the_decision_is_due_right_after(bot: Bot) -> None:
    """The job itself is left alone meanwhile; a result that comes too late is not recorded."""
    asked = await ask(bot)
    claim, other = await bot.claim_access(ASKED)
    await bot.record(other, Done())
    await decide(bot, asked)
    assert await bot.claim_access(ASKED) == []
    await bot.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))

    (again,) = await bot.claim_access(ASKED)
    assert (again.job.status_ts, again.request.state) == ("1.2", ALLOWED)
    with pytest.raises(LeaseLostError):
        await bot.record(claim, Done())


async def test_people_are_added_once(bot: Bot) -> None:
    """Whether they have asked, been denied or neither. That answers a request, and each person reads of it once."""
    asked = await ask(bot, FAY)
    await decide(bot, await ask(bot, "U0DAN"), DENIED)
    assert await bot.run(grants.add_people, note(CHIEF), [FAY, EVE, EVE, "U0DAN"]) == ["U0DAN", EVE, FAY]
    await bot.elapse(1.0)
    assert await bot.run(grants.add_people, note(BOSS), [EVE]) == []

    found, count = await bot.run(grants.granted, 2)
    assert ([(grant.user_id, grant.granted_by) for grant in found], count) == ([("U0DAN", CHIEF), (EVE, CHIEF)], 3)
    answers = [claim.job.user_id for claim in await bot.claim_access(ANSWER) if claim.request.state is ALLOWED]
    assert sorted(answers) == ["U0DAN", EVE, FAY]
    assert (await refusal(bot, asked)).data == {"decided_by": CHIEF}


async def test_a_person_can_ask_again_a_day_after_a_denial(bot: Bot) -> None:
    """And at once when their access was revoked."""
    await decide(bot, await ask(bot), DENIED)
    await bot.elapse(ASK_AGAIN_AFTER - 1.0)
    with pytest.raises(Refused) as raised:
        await ask(bot)
    assert raised.value.data["asked"] is DENIED
    await bot.elapse(1.0)
    await decide(bot, await ask(bot))
    assert await bot.run(grants.ask, note(EVE), "sdxl", (BOSS,), "") is None

    assert await bot.run(grants.revoke, note(CHIEF, "access_revoked"), [EVE, "U0ADA"]) == [EVE]
    await ask(bot)
    assert ("access_revoked", CHIEF, EVE) in await bot.rows(audit.c.outcome, audit.c.user_id, audit.c.text)


async def test_old_requests_are_deleted(bot: Bot, url: str) -> None:
    """Grants stay, and so does a request with a message that is still to be sent."""
    await decide(bot, await ask(bot, EVE))
    await ask(bot, FAY)
    for claim in await bot.claim_access():
        await bot.record(claim, Done() if claim.request.user_id == EVE else RetryIn(1.0))
    await bot.elapse(DAY + 1.0)

    assert await bot.run(grants.prune, 1) == 1
    await bot.run(history.prune, 1)
    assert outside(url, "SELECT user_id FROM reload_model_access_requests") == [(FAY,)]
    assert outside(url, "SELECT user_id FROM reload_model_grants") == [(EVE,)]
    assert await bot.rows(audit.c.id) == []
