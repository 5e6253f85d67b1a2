import asyncio

import pytest
from bot.storage.store import Ask, Limits, Note, Store

from bot.core.models import JobKind
from bot.errors import Refused
from bot.storage import statements as sql
from bot.storage.database import Database, Transaction
from tests.store.world import Clock, World, ask, busy, commits, outside

_LINES = "SELECT user_id, team_id, channel_id, what, outcome, rule, reload_id FROM audit ORDER BY id"
_REFUSAL = Note("U0EVE", "T0HOME", "C0OPS", "flux", "not_allowed", "ALLOWED_USERS")

# --- the audit ------------------------------------------------------------------------------------------


async def test_an_asking_is_kept_with_its_reload(store: Store, url: str) -> None:
    """Who, of which workspace, where, what, by which rule, and which reload it began or joined."""
    begun = await store.ask(Ask("t1", "U0ADA", "C0MODELS", "sdxl", "", team_id="T0HOME", rule="*"))
    await store.ask(Ask("t2", "U0BEN", "C0OPS", "sdxl", "", team_id="T0HOME", rule="U0BEN"))

    assert outside(url, _LINES) == [
        ("U0ADA", "T0HOME", "C0MODELS", "sdxl", "requested", "*", begun.reload.id),
        ("U0BEN", "T0HOME", "C0OPS", "sdxl", "joined", "U0BEN", begun.reload.id),
    ]


async def test_an_asking_and_its_line_are_one_commit(store: Store) -> None:
    """The audit costs no commit, and there is no reload without its line."""
    with commits() as made:
        await store.ask(ask())

    assert len(made) == 1


async def test_an_asking_is_kept_once(store: Store, url: str) -> None:
    """An invocation that is delivered twice is one line."""
    await store.ask(ask(trigger="t"))
    await store.ask(ask(trigger="t"))

    assert len(outside(url, _LINES)) == 1


async def test_what_asks_for_no_reload_is_kept(store: Store, url: str) -> None:
    """A blocked attempt is a line of its own."""
    await store.note(_REFUSAL)

    assert outside(url, _LINES) == [("U0EVE", "T0HOME", "C0OPS", "flux", "not_allowed", "ALLOWED_USERS", None)]


async def test_an_asking_that_is_withdrawn(store: Store, url: str) -> None:
    """What was withdrawn is kept as that; what others asked for in the same moment stays as it was."""
    async with busy(store._database):  # noqa: SLF001 - so that all are of one moment
        asking = asyncio.gather(*(store.ask(ask(trigger=trigger, user=f"U0{trigger}")) for trigger in "AB"))
    asked, _ = await asking

    assert await store.withdraw("B")

    lines = outside(url, "SELECT user_id, outcome, reload_id FROM audit ORDER BY id")
    assert lines == [("U0A", "requested", asked.reload.id), ("U0B", "withdrawn", None)]


async def test_refusals_are_pruned_too(store: Store, world: World, url: str) -> None:
    """No line of the audit is older than the history."""
    await store.note(_REFUSAL)
    await world.elapse(2 * 86400.0)
    await store.note(_REFUSAL)

    assert await store.prune(1) == (0, 1)
    assert len(outside(url, _LINES)) == 1


# --- limits ---------------------------------------------------------------------------------------------


@pytest.fixture
def per_person(database: Database, world: World) -> Store:
    """A store in which a person may ask twice."""
    assert world.database is database
    return Store(database, "one", Limits(per_person=2))


@pytest.fixture
def capped(database: Database, world: World) -> Store:
    """A store in which two reloads may be in flight."""
    assert world.database is database
    return Store(database, "one", Limits(in_flight=2))


async def test_a_person_has_a_limit(per_person: Store, world: World) -> None:
    """Who has asked often enough is refused, and nothing is started; joining counts as asking, too."""
    await per_person.ask(ask("sdxl"))
    await per_person.ask(ask("sdxl"))

    with pytest.raises(Refused, match="too_many_commands"):
        await per_person.ask(ask("flux"))
    assert await world.count() == (1, 2, 1)


async def test_a_limit_is_for_one_person_and_some_minutes(per_person: Store, world: World) -> None:
    """Others ask on, and after ten minutes so does who was refused; refusals do not count."""
    for model in ("one", "two"):
        await per_person.ask(ask(model))
    await per_person.note(Note("U0BEN", "", "", "", "help", ""))
    await per_person.note(Note("U0BEN", "", "", "", "help", ""))
    await per_person.ask(ask("three", user="U0BEN"))
    await world.elapse(599.0 if world.database.sqlite else 590.0)
    with pytest.raises(Refused, match="too_many_commands"):
        await per_person.ask(ask("four"))
    await world.elapse(10.0)

    assert not (await per_person.ask(ask("four"))).joined


async def test_a_limit_is_that_of_all_replicas(database: Database, per_person: Store) -> None:
    """What another replica has committed counts."""
    other = Store(database, "other", Limits(per_person=2))
    await other.ask(ask("one"))
    await other.ask(ask("two"))

    with pytest.raises(Refused, match="too_many_commands"):
        await per_person.ask(ask("three"))


async def test_a_limit_holds_among_those_that_arrive_together(database: Database, per_person: Store) -> None:
    """A burst in one commit is counted one by one, and a refusal among it undoes nobody else's."""
    async with busy(database):
        burst = asyncio.gather(*(per_person.ask(ask(f"model-{n}")) for n in range(5)), return_exceptions=True)
    answers = await burst

    assert [isinstance(answer, Refused) for answer in answers] == [False, False, True, True, True]


@pytest.mark.parametrize("again", ["one", "two"])
async def test_a_repeated_invocation_meets_no_limit(per_person: Store, again: str) -> None:
    """What Slack delivers twice is answered as before, however often its person has asked."""
    asked = {model: await per_person.ask(ask(model, trigger=model)) for model in ("one", "two")}

    assert await per_person.ask(ask(again, trigger=again)) == asked[again]


async def test_reloads_in_flight_have_a_cap(capped: Store, world: World, url: str) -> None:
    """One more is refused, and nothing of it is left; joining is always allowed."""
    await capped.ask(ask("one"))
    await capped.ask(ask("two"))

    with pytest.raises(Refused, match="too_many_in_flight"):
        await capped.ask(ask("three"))
    assert (await capped.ask(ask("two"))).joined
    assert await world.count() == (2, 3, 2)
    assert len(outside(url, _LINES)) == 3


async def test_what_ends_makes_room(capped: Store, world: World) -> None:
    """The cap counts what is in flight, and not what has been."""
    await world.done(ask("done"))
    await capped.ask(ask("one"))
    await capped.ask(ask("two"))
    assert len(await world.claim(JobKind.CALL)) == 2

    with pytest.raises(Refused, match="too_many_in_flight"):
        await capped.ask(ask("three"))


async def test_a_repeated_invocation_meets_no_cap(capped: Store, world: World) -> None:
    """An invocation delivered again after its reload ended is answered as before, though nothing else has room."""
    ended = await world.done(ask("ended", trigger="t"))
    await capped.ask(ask("one"))
    await capped.ask(ask("two"))

    again = await capped.ask(ask("ended", trigger="t"))

    assert (again.reload, again.joined) == (ended, False)
    assert (await world.count())[0] == 3


async def test_counting_needs_no_search(sqlite_url: str) -> None:
    """Both limits are counted, and a reload in flight is found, in an index, however long the history is."""
    database = Database(sqlite_url, Clock())
    await database.start()
    await Store(database, "one").open()

    def plans(tx: Transaction) -> list[str]:
        statements = [
            str(statement.compile(tx.connection)).replace("__[POSTCOMPILE_states]", "'requested', 'accepted'")
            for statement in (sql.COUNT_COMMANDS, sql.COUNT_IN_FLIGHT, sql.RELOAD_IN_FLIGHT)
        ]
        values: tuple[tuple[object, ...], ...] = (("U0ADA", 0.0), (), ("sdxl",))
        return [
            str(tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", value).all())
            for statement, value in zip(statements, values, strict=True)
        ]

    of_person, in_flight, of_model = await database.run(plans)

    assert "SEARCH audit USING INDEX audit_by_person" in of_person
    assert "INDEX one_in_flight" in in_flight
    assert "SEARCH reload USING INDEX one_in_flight" in of_model
    await database.stop()
