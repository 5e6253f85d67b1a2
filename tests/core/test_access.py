"""Who may reload models where is decided from ids alone, and nobody may until named."""

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from bot.core.access import Allowlist, Home, Members, Person
from bot.errors import Refusal, Refused

ADA = Person(user_id="U0ADA", team_id="T0HOME", channel_id="C0MODELS")
BEN = replace(ADA, user_id="W0BEN")


HOME = Home("T0HOME")
NO_GROUPS: Mapping[str, Collection[str]] = {}


def allowlist(
    users: set[str],
    channels: tuple[str, ...] = (),
    home: Home | None = HOME,
    groups: Members = NO_GROUPS.get,
    admins: Collection[str] = (),
) -> Allowlist:
    """An allowlist at home in a workspace."""
    made = Allowlist(users, channels, groups, admins)
    made.home = home
    return made


def check(made: Allowlist, person: Person) -> str:
    """The rule that allows this person in their channel."""
    rule = made.who(person)
    made.check_channel(person.channel_id)
    return rule


def refused(made: Allowlist, person: Person) -> Refused:
    """How this person is refused."""
    with pytest.raises(Refused) as raised:
        check(made, person)
    return raised.value


def refusal(made: Allowlist, person: Person) -> Refusal:
    """Why this person is refused."""
    return refused(made, person).reason


def test_whoever_is_named_may() -> None:
    """The rule that allows is returned, for the audit log."""
    assert allowlist({"U0ADA", "W0BEN"}).who(BEN) == "W0BEN"


def test_whoever_is_not_named_may_not_and_learns_their_id() -> None:
    """The refusal names the id, to be pasted into the setting."""
    found = refused(allowlist({"U0ADA"}), BEN)

    assert (found.reason, found.rule) == (Refusal.NOT_ALLOWED, "ALLOWED_USERS")
    assert found.data == {"user_id": "W0BEN"}


@pytest.mark.parametrize("users", [set[str](), {""}, {"u0ada"}, {"U0ADA "}])
def test_nobody_may_until_named_exactly(users: set[str]) -> None:
    """An empty list allows nobody, and a near match is no match."""
    assert refusal(allowlist(users), ADA) is Refusal.NOT_ALLOWED


def test_everyone_of_the_workspace_may_where_the_star_stands() -> None:
    """A person who is named besides is allowed by name."""
    assert allowlist({"*"}).who(ADA) == "*"
    assert allowlist({"*", "U0ADA"}).who(ADA) == "U0ADA"


def test_people_of_other_workspaces_may_not() -> None:
    """Slack Connect brings strangers into a channel, and the star is not for them."""
    stranger = replace(ADA, team_id="T0AWAY")

    assert refusal(allowlist({"*", "U0ADA"}), stranger) is Refusal.OTHER_WORKSPACE


def test_an_organisation_is_one_home() -> None:
    """On Enterprise Grid people ask from any workspace of the organisation."""
    grid = allowlist({"U0ADA"}, home=Home("T0HOME", "E0ORG"))

    assert grid.who(replace(ADA, team_id="T0OTHER", enterprise_id="E0ORG")) == "U0ADA"
    assert grid.who(ADA) == "U0ADA"
    assert grid.who(replace(ADA, team_id="E0ORG")) == "U0ADA"
    assert refusal(grid, replace(ADA, team_id="T0OTHER", enterprise_id="E0AWAY")) is Refusal.OTHER_WORKSPACE


def test_an_app_of_a_whole_organisation_has_no_workspace() -> None:
    """Everybody of the organisation is at home."""
    org = allowlist({"*"}, home=Home("", "E0ORG"))

    assert org.who(replace(ADA, team_id="T0ANY", enterprise_id="E0ORG")) == "*"
    assert refusal(org, replace(ADA, team_id="T0ANY")) is Refusal.OTHER_WORKSPACE
    assert refusal(org, replace(ADA, team_id="")) is Refusal.OTHER_WORKSPACE


def test_the_author_of_an_interaction_who_has_used_the_command_is_known() -> None:
    """Their payload may name another team of the organisation. The list decides all the same."""
    made, elsewhere = allowlist({"U0ADA"}), replace(ADA, team_id="T0SISTER")

    assert made.who(elsewhere, known=True) == "U0ADA"
    with pytest.raises(Refused) as stranger:
        made.who(elsewhere, known=False)
    assert (stranger.value.reason, stranger.value.data) == (Refusal.OTHER_WORKSPACE, {"interaction": True})
    with pytest.raises(Refused) as named:
        made.who(replace(elsewhere, user_id="W0BEN"), known=True)
    assert named.value.reason is Refusal.NOT_ALLOWED


def test_no_organisation_matches_no_organisation() -> None:
    """Two workspaces without one are not of the same one."""
    assert refusal(allowlist({"*"}), replace(ADA, team_id="T0AWAY", enterprise_id="")) is Refusal.OTHER_WORKSPACE
    assert refusal(allowlist({"*"}), replace(ADA, team_id="T0AWAY", enterprise_id="E0ORG")) is Refusal.OTHER_WORKSPACE


def test_a_channel_may_be_asked_for() -> None:
    """With channels named, the command works in those; the refusal links to them."""
    made = allowlist({"U0ADA"}, ("C0OPS", "C0LAB"))
    found = refused(made, ADA)

    assert (found.reason, found.rule) == (Refusal.WRONG_CHANNEL, "ALLOWED_CHANNELS")
    assert found.data == {"channels": ("C0OPS", "C0LAB")}
    assert check(made, replace(ADA, channel_id="C0LAB")) == "U0ADA"


def test_where_the_command_works_is_told_only_to_those_who_may() -> None:
    """Somebody who is not allowed does not learn the channels."""
    assert refusal(allowlist({"U0ADA"}, ("C0OPS",)), BEN) is Refusal.NOT_ALLOWED


def test_until_slack_has_said_whose_token_it_is_nobody_may() -> None:
    """Without a home there are no strangers to tell from others."""
    assert refusal(allowlist({"*"}, home=None), ADA) is Refusal.NOT_READY


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
@pytest.mark.parametrize("home", [Home("T0HOME"), Home("T0HOME", "E0ORG")])
def test_a_stranger_stays_out_of_either_kind_of_home(home: Home, team_id: str, enterprise_id: str) -> None:
    """Neither a star, nor their id, nor a group lets somebody in whose own team is elsewhere or not told."""
    stranger = Person("U0ADA", team_id, "C0MODELS", enterprise_id)
    made = allowlist({"*", "U0ADA", "S0CREW"}, home=home, groups={"S0CREW": {"U0ADA"}}.get)

    assert refusal(made, stranger) is Refusal.OTHER_WORKSPACE


def test_a_home_that_slack_did_not_name_is_nobodys() -> None:
    """Two ids that are not told are not the same one."""
    assert refusal(allowlist({"*"}, home=Home("")), Person("U0ADA", "", "C0MODELS")) is Refusal.OTHER_WORKSPACE


def test_the_organisation_of_a_workspace_that_has_none_is_nobodys() -> None:
    """A stranger cannot claim it by saying nothing."""
    assert refusal(allowlist({"*"}), Person("U0ADA", "T0AWAY", "C0MODELS", "")) is Refusal.OTHER_WORKSPACE


def test_whoever_is_in_a_group_may_by_the_group() -> None:
    """A person who is named besides may by name, and one of two groups does."""
    made = allowlist({"S0CREW", "S0TEAM", "W0BEN"}, groups={"S0CREW": {"W0BEN"}, "S0TEAM": {"U0ADA"}}.get)

    assert made.who(ADA) == "S0TEAM"
    assert made.who(BEN) == "W0BEN"


def test_a_group_says_more_than_the_star() -> None:
    """Of those that hold, the rule that says the most is told."""
    made = allowlist({"*", "S0CREW"}, groups={"S0CREW": {"W0BEN"}}.get)

    assert (made.who(BEN), made.who(ADA)) == ("S0CREW", "*")


def test_a_group_without_people_lets_nobody_in() -> None:
    """It was read, and is empty."""
    assert refusal(allowlist({"S0CREW"}, groups={"S0CREW": set[str]()}.get), ADA) is Refusal.NOT_ALLOWED


def test_a_group_that_was_not_read_lets_nobody_in_and_is_named() -> None:
    """Whoever runs the bot learns which, and the person that it is not they who are refused."""
    made = allowlist({"S0CREW", "S0TEAM", "W0BEN"}, groups={"S0TEAM": {"U0CEM"}}.get)
    found = refused(made, ADA)

    assert (found.reason, found.rule) == (Refusal.GROUP_UNREAD, "S0CREW")
    assert found.data == {"groups": ["S0CREW"]}
    assert made.who(BEN) == "W0BEN"
    assert made.who(replace(ADA, user_id="U0CEM")) == "S0TEAM"


def test_without_anybody_to_tell_a_group_is_not_read() -> None:
    """The default fails closed."""
    made = Allowlist({"S0CREW"}, ())
    made.home = HOME

    assert refusal(made, ADA) is Refusal.GROUP_UNREAD


def test_the_id_of_a_group_is_no_persons() -> None:
    """Whoever bore it would be let in by the rule for others."""
    made = allowlist({"S0CREW"}, groups={"S0CREW": {"U0CEM"}}.get)

    assert refusal(made, replace(ADA, user_id="S0CREW")) is Refusal.NOT_ALLOWED


def test_an_admin_may_without_being_on_the_list() -> None:
    """By the setting that names them, unless the list names them, too."""
    assert allowlist(set(), admins={"U0ADA"}).who(ADA) == "ADMIN_USERS"
    assert allowlist({"U0ADA"}, admins={"U0ADA"}).who(ADA) == "U0ADA"


def test_only_an_admin_can_give_access() -> None:
    """Neither the star nor a place on the list makes one, and an admin's ID in another workspace doesn't."""
    made = allowlist({"*", "W0BEN"}, admins={"U0ADA"})

    assert made.check_admin(ADA) == "ADMIN_USERS"
    for person, reason in ((BEN, Refusal.NOT_ADMIN), (replace(ADA, team_id="T0AWAY"), Refusal.OTHER_WORKSPACE)):
        with pytest.raises(Refused) as raised:
            made.check_admin(person)
        assert raised.value.reason is reason


def test_the_settings_rules_are_listed_for_an_admin() -> None:
    """With how many members a group has, where Slack has said so."""
    made = allowlist({"U0ADA", "S0CREW", "S0LATE"}, groups={"S0CREW": {"W0BEN"}}.get, admins={"U0CEM"})

    assert made.group_sizes() == {"S0CREW": 1, "S0LATE": None}
    assert made.rules(["U0ADA", "W0BEN", "U0CEM", "U0EVE"]) == {
        "U0ADA": "U0ADA",
        "W0BEN": "S0CREW",
        "U0CEM": "ADMIN_USERS",
    }
