"""Who can reload models, and where, is decided by IDs alone. Nobody can until they are listed."""

from dataclasses import replace

import pytest

from bot.core.access import Allowlist, Workspace
from bot.core.models import Person

ADA = Person(user_id="U0ADA", team_id="T0HOME", channel_id="C0MODELS")
BEN = replace(ADA, user_id="W0BEN")
AWAY = replace(ADA, team_id="T0AWAY")

HOME, GRID, ORGANISATION = Workspace("T0HOME"), Workspace("T0HOME", "E0ORG"), Workspace("", "E0ORG")

MEMBERS = {"S0BEN": {"W0BEN"}, "S0ADA": {"U0ADA"}, "S0NONE": set[str]()}
"""Who is in which user group; any other was not read."""


STRANGER = "a stranger"


def decision(users: str, person: Person, home: Workspace | None = HOME) -> str | None:
    """The rule that allows a person, or None, with the groups that might allow them."""
    allowlist = Allowlist(users.split(), (), MEMBERS.get)
    allowlist.workspace = home
    if not allowlist.is_ours(person):
        return STRANGER
    return allowlist.rule(person.user_id) or " ".join(f"{group}?" for group in allowlist.unread_groups) or None


@pytest.mark.parametrize(
    ("users", "person", "home", "expected"),
    [
        # People who are listed exactly can, by the most specific rule; an empty list allows nobody.
        ("U0ADA W0BEN", BEN, HOME, "W0BEN"),
        ("", ADA, HOME, None),
        ("u0ada U0AD U0ADAM", ADA, HOME, None),
        ("*", ADA, HOME, "*"),
        ("* U0ADA", ADA, HOME, "U0ADA"),
        ("S0BEN S0ADA", ADA, HOME, "S0ADA"),
        ("S0BEN W0BEN", BEN, HOME, "W0BEN"),
        ("* S0BEN", BEN, HOME, "S0BEN"),
        ("* S0BEN", ADA, HOME, "*"),
        # A group that is empty, or was not read, lets nobody in; its ID isn't a person's.
        ("S0NONE", ADA, HOME, None),
        ("S0UNREAD", ADA, HOME, "S0UNREAD?"),
        ("S0UNREAD S0ADA", ADA, HOME, "S0ADA"),
        ("S0BEN", replace(ADA, user_id="S0BEN"), HOME, None),
        # An organisation is one workspace, also if the app is installed for all of it.
        ("U0ADA", replace(AWAY, enterprise_id="E0ORG"), GRID, "U0ADA"),
        ("U0ADA", replace(ADA, team_id="E0ORG"), GRID, "U0ADA"),
        ("U0ADA", ADA, GRID, "U0ADA"),
        ("*", replace(AWAY, enterprise_id="E0ORG"), ORGANISATION, "*"),
        ("*", AWAY, ORGANISATION, STRANGER),
        ("*", replace(ADA, team_id=""), ORGANISATION, STRANGER),
        # Nobody can until Slack has said whose token it is; two teams that aren't named aren't the same.
        ("*", ADA, None, STRANGER),
        ("*", replace(ADA, team_id=""), Workspace(""), STRANGER),
    ],
)
def test_a_person_is_allowed_by_the_most_specific_rule(
    users: str, person: Person, home: Workspace | None, expected: str | None
) -> None:
    """Or by none."""
    assert decision(users, person, home) == expected


@pytest.mark.parametrize(
    ("team_id", "enterprise_id"),
    [
        ("T0AWAY", ""),
        ("T0AWAY", "E0AWAY"),
        ("T0AWAY", "T0HOME"),
        ("", ""),
        ("E0AWAY", "E0AWAY"),
        ("T0HOME ", ""),
        ("t0home", ""),
    ],
)
@pytest.mark.parametrize("home", [HOME, GRID])
def test_a_stranger_stays_out(home: Workspace, team_id: str, enterprise_id: str) -> None:
    """Neither *, nor their ID, nor a group lets in somebody whose own team is elsewhere or isn't named."""
    stranger = Person("U0ADA", team_id, "C0MODELS", enterprise_id)

    assert decision("* U0ADA S0ADA", stranger, home) == STRANGER
