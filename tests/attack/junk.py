"""What anybody could send: random text and JSON, and valid payloads with some parts broken."""

from collections.abc import Mapping, Sequence
from unittest.mock import patch

from hypothesis import strategies as st

from bot.core.command import SHORTCUT
from bot.sandbox.slack.delivery import Ack, Kind
from bot.sandbox.wire import JsonObject
from tests.scenarios.scenario import ADA, OPS, READY, Scenario

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

Payloads = Mapping[Kind, Sequence[JsonObject]]
"""Valid payloads, by kind of envelope."""

MARKUP = (
    "<!channel>",
    "<!here>",
    "<!everyone>",
    "<@U0EVE>",
    "<#C0OPS>",
    "<https://evil.example|x>",
    "&lt;!channel&gt;",
)
"""What the bot must never say."""

_SNIPPETS = st.sampled_from(
    [
        *MARKUP,
        *("`", "```", "*", "_", "~", ">", "|", "\\", '"', "'", "{", "}", "%s", "{0}", "$(id)", "; --", "\0", "\x1b[2J"),
        *("\u202e", "\u200b", "\u00a0", "\ufeff", "\U0001f600", "é", "sdxl", "status", "help", "history", "U0ADA"),
    ]
)

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.lists(_SNIPPETS, max_size=8).map("".join),
    st.lists(_SNIPPETS, max_size=8).map(" ".join),
    st.integers(0, 9000).map(lambda length: "x" * length),
)
"""Anything that a person could type, and more."""

_leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts, st.just("U0ADA")
)

json_values: st.SearchStrategy[Json] = st.recursive(
    _leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)

deep_json = st.sampled_from([10, 5000, 30_000]).map(lambda depth: "[" * depth + "]" * depth)
"""Past a thousand, Python's parser gives up."""


async def recorded(bot: Scenario) -> Payloads:
    """What Slack sends while somebody uses everything."""
    sent: dict[Kind, list[JsonObject]] = {"slash_commands": [], "interactive": [], "events_api": []}
    deliver = bot.slack.deliver

    async def recording(kind: Kind, payload: JsonObject, *, request_url: str | None = None, retry: str = "") -> Ack:
        sent[kind].append(payload)
        return await deliver(kind, payload, request_url=request_url, retry=retry)

    with patch.object(bot.slack, "deliver", recording):
        await bot.ask("sdxl")
        await bot.slack.press(await bot.wait_said(READY), "Remind me before it's unloaded", user=ADA)
        await bot.slack.shortcut(SHORTCUT, user=ADA)
        modal = await bot.slack.wait_modal(ADA)
        await bot.slack.suggest(modal, "s", user=ADA)
        await bot.slack.submit(modal, {"typed": "flux", "where": OPS}, user=ADA)
        await bot.slack.open_home(ADA)
        home = await bot.slack.wait_home(ADA, lambda home: bool(home.buttons))
        await bot.slack.press(home, home.buttons[0], user=ADA)
        await bot.slack.mention("anything", user=ADA, thread_ts="1.2")
    sent["events_api"].append({"type": "url_verification", "challenge": "abc"})
    await bot.wait_done(3)
    return sent


def broken_of(valid: Sequence[JsonObject]) -> st.SearchStrategy[dict[str, Json]]:
    """One of these, broken or as it is."""
    return st.sampled_from(valid).flatmap(broken)


@st.composite
def broken(draw: st.DrawFn, valid: Mapping[str, Json]) -> dict[str, Json]:
    """A valid object, of which up to three parts, however deep, are gone or changed."""
    value: Json = dict(valid)
    for _ in range(draw(st.integers(0, 3))):
        value = draw(_broken_once(value))
    return value if isinstance(value, dict) else {}


@st.composite
def _broken_once(draw: st.DrawFn, value: Json) -> Json:
    if isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["deeper", "gone", "changed", "added"])):
            case "gone":
                return {key: item for key, item in value.items() if key != name}
            case "changed":
                return {**value, name: draw(json_values)}
            case "added":
                return {**value, draw(texts): draw(json_values)}
            case _:
                return {**value, name: draw(_broken_once(value[name]))}
    if isinstance(value, list) and value:
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(_broken_once(value[place])), *value[place + 1 :]]
    return draw(json_values)
