"""What the bot says about a reload and about access, where no scenario gets."""

from dataclasses import replace

import pytest

from bot.core.access import Allowlist
from bot.core.grants import AccessRequest, RequestState
from bot.core.models import DAY, Place, Reminder, State
from bot.errors import Failure
from bot.ui import grants, messages
from bot.ui.reasons import FAILURES
from tests.samples import ACCEPTED, ADA, BEN, NOON, OPS, RELOAD, subscriber

ADA_ASKED, BEN_ASKED = subscriber(), subscriber(2, BEN)
FAILED = replace(RELOAD, state=State.NOTIFYING, failure=Failure.REFUSED, said="no & never")
UNKNOWN = replace(FAILED, failure=Failure.UNKNOWN_MODEL)

INTERNAL = FAILURES[Failure.INTERNAL]

AT_1202_01 = "<!date^1700049721^{time}|12:02 UTC>"
NOT_RELOADED = "<@U0ADA> <@U0BEN> `sdxl` was not reloaded: ModelsLab refused the request."
REFUSED_FIX = "If it keeps doing that, contact ModelsLab support."


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            messages.will_remind(Reminder("sdxl", due_at=None)),
            "I've already reminded you about `sdxl`. I'll do it again after the next reload.",
        ),
        (
            messages.closed(replace(ACCEPTED, undeliverable=True), [ADA_ASKED]).text,
            f"✓ `sdxl` · should be ready since {AT_1202_01} · couldn't notify everyone · requested by <@U0ADA>",
        ),
        (
            messages.closed(replace(ACCEPTED, undeliverable=True), [replace(ADA_ASKED, notified_at=NOON)]).text,
            f"✓ `sdxl` · should be ready since {AT_1202_01} · requested by <@U0ADA>",
        ),
        (messages.closed(UNKNOWN, [ADA_ASKED]).text, "✗ `sdxl` · no such model · requested by <@U0ADA>"),
        (
            grants.request(AccessRequest("r4x7", ADA, "D0ADA", "sdxl", RequestState.OPEN, NOON), is_open=True).text,
            "<@U0ADA> asks for access to reload models. They wanted `sdxl` in a direct message.",
        ),
        # A failure has the reload's ID, and what ModelsLab said, in small print, unless the ID of the model is wrong.
        (
            messages.failure(FAILED, [ADA_ASKED, BEN_ASKED]).text,
            f"{NOT_RELOADED} {REFUSED_FIX} (`no &amp; never` · reload `r4x7`)",
        ),
        (
            messages.failure(replace(FAILED, said="", outcome_unknown=True), [ADA_ASKED, BEN_ASKED]).text,
            (
                f"{NOT_RELOADED} At least one request got no clear answer, so the model may already be reloading: "
                f"check the model first. {REFUSED_FIX} (reload `r4x7`)"
            ),
        ),
        # After the bot was down, a try can come after the time limit, and a follow-up late.
        (messages.trouble(RELOAD, [ADA_ASKED], NOON, NOON).text.rpartition("yet. ")[2], "I'm still trying."),
        (
            messages.follow_up([ACCEPTED, replace(ACCEPTED, model_id="flux")], [ADA_ASKED], late=100.0).text,
            f"<@U0ADA> `sdxl` and `flux` should be ready now. Sorry, this is late: the first was due at {AT_1202_01}.",
        ),
        (messages.follow_up([ACCEPTED], [ADA_ASKED], late=8 * DAY).text[-20:], "been unloaded since."),
        # A row without a cause blames nobody else.
        (
            messages.failure(replace(FAILED, failure=None), [ADA_ASKED]).headline,
            f"<@U0ADA> `sdxl` was not reloaded: {INTERNAL.why}. {INTERNAL.fix}",
        ),
    ],
)
def test_a_message_says(said: str, text: str) -> None:
    """As people read it. Times are in each reader's own zone."""
    assert said == text


def test_a_status_message_offers_to_try_a_failure_again() -> None:
    """With the models that may have been meant. Nothing else is left to do, and the last resort has no button."""
    closed = messages.closed(replace(UNKNOWN, similar=["sd-xl"]), [ADA_ASKED])

    assert [button.label for button in closed.buttons] == ["sd-xl", "Try again"]
    assert [*messages.closed(ACCEPTED, [ADA_ASKED]).buttons, *messages.uncertain(ACCEPTED, [ADA_ASKED]).buttons] == []


def test_a_button_says_its_model_to_screen_readers() -> None:
    """Its short label only makes sense beside the text."""
    ended, failed = messages.closed(ACCEPTED, [ADA_ASKED], again=True), messages.failure(FAILED, [ADA_ASKED])
    reminder = messages.reminder(ACCEPTED, Place(OPS), NOON + 7 * DAY)

    assert [button.element().accessibility_label for each in (ended, failed, reminder) for button in each.buttons] == [
        "Reload sdxl again",
        "Try sdxl again",
        "Reload sdxl now",
        "Stop reminding me about sdxl",
    ]


def test_the_time_left_is_rounded() -> None:
    """Nobody knows it to the second."""
    left = {
        -1: "a few seconds left",
        4.9: "a few seconds left",
        5: "5 s left",
        33: "35 s left",
        59.9: "1 min left",
        64: "1 min left",
        100: "1 min 40 s left",
        596: "10 min left",
        3629: "60 min left",
    }

    assert {seconds: messages.left(seconds) for seconds in left} == left


def test_the_bar_draws_the_time_that_has_passed() -> None:
    """From the acceptance to when the model should be ready; it is full only when that has come."""
    bars = {
        -3: "░░░░░░░░░░ 0 %",
        0: "░░░░░░░░░░ 0 %",
        49.2: "▓▓▓▓░░░░░░ 41 %",
        119.9: "▓▓▓▓▓▓▓▓▓░ 99 %",
        500: "▓▓▓▓▓▓▓▓▓▓ 100 %",
    }

    assert {passed: messages.bar(ACCEPTED, NOON + 1 + passed) for passed in bars} == bars
    assert messages.bar(replace(ACCEPTED, ready_at=NOON + 1), NOON + 1).endswith(" 100 %")


def test_a_reminder_promises_nothing_that_may_be_over() -> None:
    """It may come late, as after the bot was down."""
    soon, by_now = "ModelsLab will unload it within a day.", "it may have been unloaded by now."

    for days, shown, unloaded in ((6.01, 6, soon), (6.99, 6, soon), (7.0, 7, by_now), (30.5, 30, by_now)):
        text = messages.reminder(ACCEPTED, Place(OPS), NOON + 121 + days * DAY).text
        assert text == f"`sdxl` was reloaded {shown} days ago. If nobody has used it since, {unloaded}"


def test_the_list_leaves_out_what_there_is_not() -> None:
    """Without ALLOWED_USERS there are only admins; a group that can't be read is named."""
    nobody = Allowlist([], [], admins=[BEN])
    everyone = Allowlist(["*", ADA, "S0CREW", "S0TEAM"], [], {"S0TEAM": [ADA, BEN]}.get, [BEN])

    assert [line.text for line in grants.access_lines(nobody, [], 0)] == [
        "• Admins (`ADMIN_USERS`): <@U0BEN>",
        "People named in the settings can only be removed there.",
    ]
    assert grants.access_lines(everyone, [], 0)[1].text == (
        "• Listed in the settings (`ALLOWED_USERS`): everyone in this workspace, <@U0ADA>, "
        "user group `S0CREW` (Slack hasn't said who is in it), user group `S0TEAM` (2 members)"
    )
