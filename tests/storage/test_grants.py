"""Requests for access and grants, where no scenario gets: tests/scenarios/test_access.py shows the rest."""

import pytest

from bot.core.grants import ASK_AGAIN_AFTER, REQUEST_EXPIRES_AFTER, AccessRequest, RequestState
from bot.core.models import DAY, JobKind
from bot.errors import Refusal, Refused
from bot.storage import grants, history
from bot.storage.outcomes import Done, NotShown, Reschedule, RetryIn
from bot.storage.schema import audit
from tests.storage.support import Bot, access_note, outside

EVE, FAY, BOSS, CHIEF = "U0EVE", "U0FAY", "U0BOSS", "W0CHIEF"
ASKED, ANSWER = JobKind.ACCESS_REQUEST, JobKind.ACCESS_ANSWER

ALLOWED, DENIED = RequestState.ALLOWED, RequestState.DENIED


async def refusal(bot: Bot, id_: str) -> Refused:
    """How a decision that comes too late is refused."""
    with pytest.raises(Refused) as raised:
        await bot.decide(id_, DENIED, CHIEF)
    return raised.value


async def test_a_request_expires_after_seven_days(bot: Bot) -> None:
    """Then it can't be decided any more, its messages and its answer are due, and the person can ask again.

    Nor in its last minute: the decision might be committed after the person has read that nobody decided.
    """
    first = await bot.ask_access(EVE, BOSS, CHIEF)
    for claim in await bot.claim_access():
        await bot.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))
    assert await bot.due_in(ASKED, ANSWER) == REQUEST_EXPIRES_AFTER
    await bot.elapse(REQUEST_EXPIRES_AFTER - 59.0)
    assert (await refusal(bot, first)).reason is Refusal.ALREADY_DECIDED
    await bot.elapse(59.0)

    for request_id in (first, "nosuch"):
        assert (await refusal(bot, request_id)).data == {"decided_by": "", "by_you": False}
    assert await bot.run(grants.standing, EVE) is None
    second = await bot.ask_access(EVE, BOSS, CHIEF)
    claims = await bot.claim_access()
    due = [(claim.job.kind, claim.request.is_open(claim.now)) for claim in claims if claim.request.id == first]
    assert due == [(ANSWER, False), (ASKED, False), (ASKED, False)]
    assert (await bot.decide(second, ALLOWED, BOSS)).state is ALLOWED


async def test_a_request_that_no_admin_can_read_is_ended(bot: Bot) -> None:
    """Those who aren't admins any more don't count. Nobody is asked twice if the admins' channel is given up."""
    await bot.run(grants.ask, access_note(EVE, "access_requested"), "", [BOSS], "C0OLD")
    (in_channel,) = await bot.claim_access(ASKED)
    await bot.run(grants.show_to_new_admins, [BOSS], "")
    await bot.record(in_channel, NotShown([BOSS]))
    (to_boss,) = await bot.claim_access(ASKED)
    await bot.run(grants.show_to_new_admins, [CHIEF], "")
    (to_chief,) = await bot.claim_access(ASKED)
    await bot.record(to_chief, NotShown([CHIEF]))

    (answer,) = await bot.claim_access(ANSWER)
    await bot.record(to_boss, NotShown([CHIEF]))
    assert (to_boss.request.state, answer.request.state) == (RequestState.OPEN, RequestState.UNREACHED)


async def test_people_are_added_once(bot: Bot) -> None:
    """Whether they have asked, been denied or neither. That answers a request, and each person reads of it once."""
    asked = await bot.ask_access(FAY, BOSS, CHIEF)
    await bot.decide(await bot.ask_access("U0DAN", BOSS, CHIEF), DENIED, BOSS)
    await bot.elapse(1.0)
    assert await bot.run(grants.add_people, access_note(CHIEF), [FAY, EVE, EVE, "U0DAN"]) == ["U0DAN", EVE, FAY]
    await bot.elapse(1.0)
    assert await bot.run(grants.add_people, access_note(BOSS), [EVE]) == []

    found, count = await bot.run(grants.granted, 2)
    assert ([(grant.user_id, grant.granted_by) for grant in found], count) == ([("U0DAN", CHIEF), (EVE, CHIEF)], 3)
    await bot.run(grants.revoke, access_note(BOSS), ["U0DAN"])
    assert await bot.run(grants.standing, "U0DAN") is None  # an earlier denial counts no more
    answers = [claim.job.user_id for claim in await bot.claim_access(ANSWER) if claim.request.state is ALLOWED]
    assert sorted(answers) == ["U0DAN", EVE, FAY]
    assert (await refusal(bot, asked)).data == {"decided_by": CHIEF, "by_you": True}


async def test_whose_request_is_about_to_expire_can_be_added(bot: Bot) -> None:
    """With others. They read that they have access, and not that nobody decided."""
    await bot.ask_access(EVE, BOSS)
    await bot.elapse(REQUEST_EXPIRES_AFTER - 30.0)
    assert await bot.run(grants.add_people, access_note(BOSS), [EVE, FAY]) == [EVE, FAY]
    await bot.elapse(31.0)

    answers = [(claim.job.user_id, claim.request.state) for claim in await bot.claim_access(ANSWER)]
    assert sorted(answers) == [(EVE, ALLOWED), (FAY, ALLOWED)]


async def test_a_person_can_ask_again_a_day_after_a_denial(bot: Bot) -> None:
    """And at once when their access was revoked."""
    await bot.decide(await bot.ask_access(EVE, BOSS, CHIEF), DENIED, BOSS)
    await bot.elapse(ASK_AGAIN_AFTER - 1.0)
    with pytest.raises(Refused) as raised:
        await bot.ask_access(EVE, BOSS, CHIEF)
    denied = raised.value.data["asked"]
    assert isinstance(denied, AccessRequest)
    assert denied.state is DENIED
    await bot.elapse(1.0)
    await bot.decide(await bot.ask_access(EVE, BOSS, CHIEF), ALLOWED, BOSS)
    assert await bot.run(grants.ask, access_note(EVE), "sdxl", (BOSS,), "") is None

    assert await bot.run(grants.revoke, access_note(CHIEF, "access_revoked"), [EVE, "U0ADA"]) == [EVE]
    await bot.ask_access(EVE, BOSS, CHIEF)
    assert ("access_revoked", CHIEF, EVE) in await bot.rows(audit.c.outcome, audit.c.user_id, audit.c.text)


async def test_old_requests_are_deleted(bot: Bot, url: str) -> None:
    """Grants stay, and so does a request with a message that is still to be sent."""
    await bot.decide(await bot.ask_access(EVE, BOSS, CHIEF), ALLOWED, BOSS)
    await bot.ask_access(FAY, BOSS, CHIEF)
    for claim in await bot.claim_access():
        await bot.record(claim, Done() if claim.request.user_id == EVE else RetryIn(1.0, attempts=1))
    await bot.elapse(DAY + 1.0)

    assert await bot.run(grants.prune, 1) == 1
    await bot.run(history.prune, 1)
    assert outside(url, "SELECT user_id FROM reload_model_access_requests") == [(FAY,)]
    assert outside(url, "SELECT user_id FROM reload_model_grants") == [(EVE,)]
    assert await bot.rows(audit.c.id) == []
