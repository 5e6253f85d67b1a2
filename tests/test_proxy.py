"""Which way a request goes."""

import pytest

from bot.proxy import proxy_to

PROXY = "http://proxy.example.com:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_proxy_the_way_is_straight() -> None:
    """Nothing set is nothing used."""
    assert proxy_to("https://slack.com/api/") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_is_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In capitals or not, as other programs read it."""
    monkeypatch.setenv(name, PROXY)

    assert proxy_to("https://slack.com/api/") == PROXY


@pytest.mark.parametrize("listed", ["slack.com", ".com", "*"])
def test_what_no_proxy_names_is_reached_without(monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    """A host, the end of its name, or everything."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", listed)

    assert proxy_to("https://slack.com/api/") is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:4000/api/", "http://localhost:4000", "http://[::1]:4000/"])
def test_this_machine_is_reached_without(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A sandbox stays on this machine, whatever proxy there is."""
    monkeypatch.setenv("HTTP_PROXY", PROXY)

    assert proxy_to(url) is None
