"""Slack's usergroups.users.list, as an answer for the sandbox's Slack to give."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from tests.answers import Exchange, Json


@dataclass(frozen=True, slots=True)
class FakeUserGroups:
    """Who is in which group; Slack lists disabled ones only on request."""

    members: Mapping[str, Collection[str]]
    disabled: Mapping[str, Collection[str]] = field(default_factory=dict)

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer for the group that the query names."""
        query = exchange.request.query
        groups = {**self.members, **(self.disabled if query.get("include_disabled") == "true" else {})}
        found = groups.get(query["usergroup"])
        body = {"ok": False, "error": "no_such_subteam"} if found is None else {"ok": True, "users": list(found)}
        return await Json(200, body).send(exchange)


@dataclass(frozen=True, slots=True)
class FakeOrganisation:
    """The same for an app that is installed for a whole organisation: who is in which group, by workspace."""

    teams: Mapping[str, FakeUserGroups]

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Answer for the workspace that the query names. It has to name one."""
        if found := self.teams.get(exchange.request.query.get("team_id", "")):
            return await found.send(exchange)
        return await Json(200, {"ok": False, "error": "missing_argument"}).send(exchange)

    @property
    def listed(self) -> Json:
        """What auth.teams.list answers."""
        return Json(200, {"ok": True, "teams": [{"id": team_id, "name": team_id} for team_id in self.teams]})
