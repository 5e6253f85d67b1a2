"""Requests for access and grants: what is asked, decided, revoked and forgotten, and which jobs that makes due."""

from collections.abc import Collection

import pytest

from bot.core.grants import ASK_AGAIN_AFTER, REQUEST_EXPIRES_AFTER, AccessRequest, Grant, RequestState
from bot.core.models import DAY, JobKind
from bot.core.outcomes import Done, Reschedule, RetryIn
from bot.errors import LeaseLost, Refusal, Refused
from bot.storage import grants, history
from bot.storage.history import Note
from bot.storage.schema import audit, jobs
from tests.storage.support import HERE, Bot, outside, request

EVE, FAY, BOSS, CHIEF = "U0EVE", "U0FAY", "U0BOSS", "W0CHIEF"
ADMINS = (BOSS, CHIEF)
ASKED, ANSWER = JobKind.ACCESS_REQUEST, JobKind.ACCESS_ANSWER

ALLOWED, DENIED = RequestState.ALLOWED, RequestState.DENIED


def note(user: str, outcome: str = "access_granted") -> Note:
    """A line of the audit whose text storage fills in."""
    return Note(user, "T0HOME", HERE, "pressed", outcome, "ADMIN_USERS")


async def ask(bot: Bot, user: str = EVE, of: str = "sdxl", admins: Collection[str] = ADMINS, channel: str = "") -> str:
    """Ask for access, and return the request's ID."""
    asked = await bot.run(grants.ask, note(user, "access_requested"), of, admins, channel)
    assert asked is not None
    return asked.id


async def decide(bot: Bot, id_: str, state: RequestState = ALLOWED, admin: str = BOSS) -> AccessRequest:
    """Decide on a request."""
    return await bot.run(grants.decide, note(admin, f"access_{state}"), id_, state)


async def refusal(bot: Bot, id_: str, admin: str = CHIEF) -> Refused:
    """How a decision that comes too late is refused."""
    with pytest.raises(Refused) as raised:
        await decide(bot, id_, DENIED, admin)
    return raised.value


async def standing(bot: Bot, user: str = EVE) -> Grant | AccessRequest | None:
    """See grants.standing."""
    return await bot.run(grants.standing, user)


async def lines(bot: Bot) -> list[tuple[str, str, str]]:
    """The audit: who did what to whom, in the order of the alphabet."""
    return [tuple(row) for row in await bot.rows(audit.c.user_id, audit.c.outcome, audit.c.text)]


# Requests


async def test_each_admin_is_asked_or_all_in_their_channel(bot: Bot) -> None:
    """At once, by a job of its own each, and the request is in the audit."""
    await ask(bot, EVE)
    await ask(bot, FAY, channel="C0ADMINS")

    claims = await bot.claim_access()
    assert [(claim.job.user_id, claim.job.channel_id, claim.request.user_id) for claim in claims] == [
        (BOSS, "", EVE),
        (CHIEF, "", EVE),
        ("", "C0ADMINS", FAY),
    ]
    assert (claims[0].request.model_id, claims[0].request.channel_id, claims[0].now) == ("sdxl", HERE, bot.clock.now)
    assert await lines(bot) == [(EVE, "access_requested", "sdxl"), (FAY, "access_requested", "sdxl")]


async def test_the_model_of_a_reload_is_what_is_wanted(bot: Bot) -> None:
    """By somebody who pressed a button of it; without a model, none is."""
    reload = (await bot.ask(request("flux"))).reload
    await ask(bot, EVE, reload.id)
    await ask(bot, FAY, "")

    wanted = {claim.request.user_id: claim.request.model_id for claim in await bot.claim_access(ASKED)}
    assert wanted == {EVE: "flux", FAY: ""}


async def test_a_person_has_one_open_request(bot: Bot) -> None:
    """It is refused with how the first one stands, and nothing is added."""
    await ask(bot)
    before = await bot.everything()
    with pytest.raises(Refused) as raised:
        await ask(bot)

    assert (raised.value.reason, raised.value.data["asked"]) == (Refusal.NOT_ALLOWED, RequestState.OPEN)
    assert await bot.everything() == before


async def test_after_a_denial_a_person_can_ask_again_the_next_day(bot: Bot) -> None:
    """Not before, and of that day on as if for the first time."""
    await decide(bot, await ask(bot), DENIED)
    await bot.elapse(ASK_AGAIN_AFTER - 1.0)
    with pytest.raises(Refused) as raised:
        await ask(bot)
    assert raised.value.data["asked"] is DENIED

    await bot.elapse(1.0)
    assert await standing(bot) is None
    await ask(bot)


async def test_somebody_who_has_access_does_not_ask(bot: Bot) -> None:
    """Somebody may have pressed the button of an old message."""
    await bot.run(grants.add_people, note(BOSS), [EVE])

    assert await bot.run(grants.ask, note(EVE), "sdxl", ADMINS, "") is None


async def test_a_request_expires_after_seven_days(bot: Bot) -> None:
    """Then nobody decides on it, its messages and its answer are due, and the person can ask again."""
    first = await ask(bot)
    for claim in await bot.claim_access():
        await bot.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))
    assert await bot.due_in(ASKED, ANSWER) == REQUEST_EXPIRES_AFTER
    await bot.elapse(REQUEST_EXPIRES_AFTER)

    assert (await refusal(bot, first)).data == {"decided_by": ""}
    assert await standing(bot) is None
    second = await ask(bot)
    claims = await bot.claim_access()
    assert [(claim.job.kind, claim.request.id) for claim in claims if claim.request.id == first] == [
        (ANSWER, first),
        (ASKED, first),
        (ASKED, first),
    ]
    assert not any(claim.request.is_open(claim.now) for claim in claims if claim.request.id == first)
    assert (await decide(bot, second)).state is ALLOWED


async def test_in_its_last_moment_a_request_is_not_decided(bot: Bot) -> None:
    """The decision might be committed when the person has been told that nobody decided."""
    asked = await ask(bot)
    await bot.elapse(REQUEST_EXPIRES_AFTER - 59.0)

    assert (await refusal(bot, asked)).reason is Refusal.ALREADY_DECIDED


# Deciding


@pytest.mark.parametrize("state", [ALLOWED, DENIED])
async def test_the_first_decision_counts(bot: Bot, state: RequestState) -> None:
    """Another is refused with who was first. Only an allowed person has a grant; the audit has the one decision."""
    asked = await ask(bot)
    decided = await decide(bot, asked, state)

    assert (decided.user_id, decided.state, decided.decided_by, decided.decided_at) == (EVE, state, BOSS, bot.clock.now)
    found = await refusal(bot, asked)
    assert (found.reason, found.data) == (Refusal.ALREADY_DECIDED, {"decided_by": BOSS})
    grant = Grant(EVE, BOSS, bot.clock.now) if state is ALLOWED else None
    assert await bot.run(grants.grant_of, EVE) == grant
    assert (BOSS, f"access_{state}", EVE) in await lines(bot)
    assert len(await lines(bot)) == 2


async def test_nobody_decides_on_a_request_that_is_unknown(bot: Bot) -> None:
    """Its message may have outlived it."""
    assert (await refusal(bot, "nosuch")).data == {"decided_by": ""}


async def test_a_decision_makes_all_messages_due(bot: Bot) -> None:
    """Those of the admins and the answer to the person, even one that waited for its next try."""
    asked = await ask(bot)
    one, two = await bot.claim_access()
    await bot.record(one, Reschedule(one.request.expires_at - one.now, "1.2"))
    await bot.record(two, RetryIn(60.0))
    await decide(bot, asked)

    claims = await bot.claim_access()
    assert [(claim.job.kind, claim.job.user_id, claim.job.status_ts, claim.job.attempts) for claim in claims] == [
        (ANSWER, EVE, "", 0),
        (ASKED, BOSS, "1.2", 0),
        (ASKED, CHIEF, "", 0),
    ]
    assert {claim.request.decided_by for claim in claims} == {BOSS}
    for claim in claims:
        await bot.record(claim, Done())
    assert await bot.rows(jobs.c.id) == []


async def test_a_message_that_is_being_posted_during_the_decision_is_due_right_after(bot: Bot) -> None:
    """The job itself is left alone meanwhile; a result that comes too late is not recorded."""
    asked = await ask(bot, admins=[BOSS])
    (claim,) = await bot.claim_access(ASKED)
    await decide(bot, asked)
    assert await bot.claim_access(ASKED) == []
    await bot.record(claim, Reschedule(claim.request.expires_at - claim.now, "1.2"))

    (again,) = await bot.claim_access(ASKED)
    assert (again.job.status_ts, again.request.state) == ("1.2", ALLOWED)
    with pytest.raises(LeaseLost):
        await bot.record(claim, Done())


# Adding and revoking


async def test_people_are_added_without_having_asked(bot: Bot) -> None:
    """Each is told; somebody who had asked has been answered by that, and who had access keeps the grant they had."""
    asked = await ask(bot, FAY, admins=[BOSS])
    await decide(bot, await ask(bot, "U0DAN"), DENIED)
    assert await bot.run(grants.add_people, note(CHIEF), [FAY, EVE, EVE, "U0DAN"]) == ["U0DAN", EVE, FAY]
    await bot.elapse(1.0)
    assert await bot.run(grants.add_people, note(BOSS), [EVE]) == []

    found, count = await bot.run(grants.granted, 2)
    assert ([grant.user_id for grant in found], count) == (["U0DAN", EVE], 3)
    assert {grant.granted_by for grant in found} == {CHIEF}
    answers = [claim.job.user_id for claim in await bot.claim_access(ANSWER) if claim.request.state is ALLOWED]
    assert sorted(answers) == ["U0DAN", EVE, FAY]
    assert (await refusal(bot, asked)).data == {"decided_by": CHIEF}
    granted = [line for line in await lines(bot) if line[1] == "access_granted"]
    assert granted == [(CHIEF, "access_granted", user) for user in ("U0DAN", EVE, FAY)]


async def test_a_grant_is_revoked_once(bot: Bot) -> None:
    """Each is in the audit, and the person can ask again at once."""
    await bot.run(grants.add_people, note(BOSS), [EVE, FAY])
    revoked = note(CHIEF, "access_revoked")

    assert await bot.run(grants.revoke, revoked, [EVE, "U0ADA"]) == [EVE]
    with pytest.raises(Refused) as raised:
        await bot.run(grants.revoke, revoked, [EVE])
    assert raised.value.reason is Refusal.NOT_GRANTED
    assert [line for line in await lines(bot) if line[1] == "access_revoked"] == [(CHIEF, "access_revoked", EVE)]
    assert isinstance(await standing(bot, FAY), Grant)
    assert await standing(bot, EVE) is None
    await ask(bot)


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
    assert await lines(bot) == []
