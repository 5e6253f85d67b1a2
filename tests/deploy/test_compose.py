"""The two compose files: one container on SQLite, and two replicas on PostgreSQL."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bot.core.timing import Timing
from bot.settings import NAMES
from bot.urls import database_fault

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ONE, REPLICAS = "compose.yaml", "deploy/compose.postgres.yaml"
BOT = {path: YAML(typ="safe").load(ROOT / path)["services"]["bot"] for path in (ONE, REPLICAS)}

both = pytest.mark.parametrize("path", [ONE, REPLICAS])


@both
def test_the_bot_can_do_only_what_it_must(path: str) -> None:
    """Nothing is written outside its volumes, and no rights are gained."""
    assert BOT[path]["read_only"] is True
    assert BOT[path]["cap_drop"] == ["ALL"]
    assert BOT[path]["security_opt"] == ["no-new-privileges:true"]


@both
def test_the_health_check_is_that_of_the_image(path: str) -> None:
    """One command asks everywhere, with the settings that the bot has."""
    assert "healthcheck" not in BOT[path]
    assert 'CMD ["reload-model-bot", "health"]' in DOCKERFILE


@both
def test_the_bot_has_the_time_it_takes_to_stop(path: str) -> None:
    """Docker kills what is still there then."""
    assert float(BOT[path]["stop_grace_period"].removesuffix("s")) > Timing().exit


def test_the_password_is_not_in_the_url() -> None:
    """Special characters in it would have to be percent-encoded there."""
    environment = BOT[REPLICAS]["environment"]

    assert database_fault(environment["DATABASE_URL"]) is None
    assert "$" not in environment["DATABASE_URL"]
    assert environment["PGPASSWORD"] == "${POSTGRES_PASSWORD}"
    assert set(environment) - {"PGPASSWORD"} <= set(NAMES)


def test_the_published_port_is_that_of_the_image() -> None:
    """On this machine only: a proxy stands before it."""
    [port] = re.findall(r"^EXPOSE (\d+)", DOCKERFILE, re.MULTILINE)

    assert BOT[ONE]["ports"] == [f"127.0.0.1:{port}:{port}"]
