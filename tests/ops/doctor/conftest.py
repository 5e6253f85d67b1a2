"""A set-up in which everything is right, for the tests to break."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.ops.doctor import check
from bot.sandbox.modelslab import SandboxModelsLab
from bot.sandbox.slack.service import SandboxSlack
from bot.settings import NAMES, read
from bot.slack.client import GROUP_METHOD
from bot.storage.database import Database
from bot.storage.jobs import open_database
from tests.answers import Answer, Json
from tests.usergroups import FakeUserGroups

ADA, BEN, CREW = "U0ADA", "W0BEN", "S0CREW"
MODELS = "C0MODELS"


@dataclass(frozen=True, slots=True)
class Report:
    """What the command printed, and its exit code."""

    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        """One line per result."""
        return self.text.splitlines()

    def marked(self, mark: str) -> list[str]:
        """The lines with this mark."""
        return [line for line in self.lines if line.startswith(mark)]

    def line(self, about: str) -> str:
        """The one line about this."""
        (line,) = [line for line in self.lines if line[2:].startswith(f"{about}: ")]
        return line


class Setup:
    """Settings, and everything that they name."""

    def __init__(
        self, slack: SandboxSlack, modelslab: SandboxModelsLab, folder: Path, patch: pytest.MonkeyPatch
    ) -> None:
        self.slack, self.modelslab, self.folder, self.patch = slack, modelslab, folder, patch
        self.file = folder / "reload-model.db"
        self.env = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_API_URL": slack.api_url,
            "MODELSLAB_API_KEY": modelslab.key,
            "MODELSLAB_URL": modelslab.url,
            "ALLOWED_USERS": f"{ADA}, {BEN}",
            "ALLOWED_CHANNELS": MODELS,
            "DATABASE_URL": f"sqlite:///{self.file}",
            "PORT": "0",
        }

    def use_http_mode(self) -> None:
        """Have Slack call the bot."""
        self.env |= {"SLACK_APP_TOKEN": "", "SLACK_SIGNING_SECRET": self.slack.signing_secret}

    def use_groups(self, members: Mapping[str, Collection[str]], **disabled: Collection[str]) -> None:
        """Have the workspace hold these user groups, the app the scope to read them, and their members be allowed."""
        self.slack.scopes.add("usergroups:read")
        self.slack.fail(GROUP_METHOD, FakeUserGroups(members, disabled))
        self.env["ALLOWED_USERS"] = " ".join(members)

    async def hold_database(self) -> Database:
        """Use the database as a running bot does, until it is stopped."""
        database = Database(self.env["DATABASE_URL"], lambda: 0.0)
        await database.start()
        await database.run(open_database)
        return database

    async def make_tables(self) -> None:
        """Have had a bot use the database."""
        await (await self.hold_database()).stop()

    async def run(self, *, who: str = "", balance: bool = False, form: str = "brief") -> Report:
        """Run the command to its end, in a thread of its own, for it has an event loop of its own."""
        out = io.StringIO()
        settings, problems = read(self.env, self.folder / ".env")
        code = await asyncio.to_thread(check.main, out, settings, problems, who=who, balance=balance, form=form)
        return Report(code, out.getvalue())

    async def assert_found(self, found: str, fix: str) -> None:
        """One line with ✗, the fix in it, exit code 1, and no trace of the secrets."""
        report = await self.run()
        (line,) = report.marked("✗")
        assert report.code == 1
        assert line.startswith(f"✗ {found}")
        assert fix in line.partition(" → ")[2]
        assert not any(secret in report.text for secret in (self.slack.bot_token, self.modelslab.key))


Change = Callable[[Setup], object]
"""What makes a set-up another one."""


def given(**env: str) -> Change:
    """Set settings."""
    return lambda setup: setup.env.update(env)


def slack_says(method: str, answer: Answer | str) -> Change:
    """Have Slack answer a method so."""
    return lambda setup: setup.slack.fail(method, answer)


def person(**user: object) -> Change:
    """Allow one person, whom Slack describes so."""

    def allow(setup: Setup) -> None:
        setup.env["ALLOWED_USERS"] = ADA
        setup.slack.fail("users.info", Json(200, {"ok": True, "user": {"name": "ada", **user}}))

    return allow


def token(**whose: object) -> Change:
    """Have Slack say this of the bot's token."""
    return slack_says("auth.test", Json(200, {"ok": True, **whose}))


def group(answer: Answer | str) -> Change:
    """Allow a user group, of which Slack says this."""

    def allow(setup: Setup) -> None:
        setup.env["ALLOWED_USERS"] = CREW
        setup.slack.fail(GROUP_METHOD, answer)

    return allow


def wallet(answer: Answer) -> Change:
    """Have ModelsLab answer a request for the balance so."""
    return lambda setup: setattr(setup.modelslab, "wallet", answer)


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """A workspace with two people and a channel, in which IDs can be looked up."""
    async with SandboxSlack() as slack:
        slack.scopes |= {"users:read", "channels:read"}
        slack.users[ADA] = "ada"
        slack.users[BEN] = "ben"
        slack.add_channel(MODELS, "models")
        yield slack


@pytest.fixture
def setup(slack: SandboxSlack, modelslab: SandboxModelsLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Socket Mode, and an SQLite file that no bot has created yet."""
    monkeypatch.chdir(tmp_path)
    for name in (*NAMES, "https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Setup(slack, modelslab, tmp_path, monkeypatch)
