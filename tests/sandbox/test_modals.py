"""A modal opens for whoever made its trigger, is filled in, and is answered, as in Slack, in both modes."""

import json

import aiohttp
import pytest
from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.block_kit import Option
from bot.sandbox.slack import SandboxSlack
from bot.sandbox.surfaces import Modal
from bot.sandbox.wire import JsonObject
from bot.sandbox.workspace import Refused
from tests.sandbox.app import App


def plain(text: str) -> JsonObject:
    """A text object."""
    return {"type": "plain_text", "text": text}


def option(value: str) -> JsonObject:
    """An option that is called as it is."""
    return {"text": plain(value), "value": value}


def asks(label: str, element: JsonObject, **more: bool) -> JsonObject:
    """An input block with an id in capitals."""
    return {"type": "input", "block_id": label.upper(), "label": plain(label), "element": element, **more}


MODEL = asks("Model", {"type": "external_select", "action_id": "model", "min_query_length": 0})
WHERE = asks(
    "Where",
    {
        "type": "conversations_select",
        "action_id": "where",
        "default_to_current_conversation": True,
        "response_url_enabled": True,
        "filter": {"include": ["public"]},
    },
)
NOTE = asks("Note", {"type": "plain_text_input", "action_id": "note"}, optional=True)
SPEED = asks(
    "Speed",
    {
        "type": "static_select",
        "action_id": "speed",
        "options": [option("slow"), option("fast")],
        "initial_option": option("slow"),
    },
)


def view(*blocks: JsonObject, **more: object) -> JsonObject:
    """A modal with these blocks."""
    modal: JsonObject = {
        "type": "modal",
        "callback_id": "form",
        "title": plain("Reload a model"),
        "submit": plain("Reload"),
        "blocks": [*blocks],
    }
    return modal | {name: value for name, value in more.items() if value is None or isinstance(value, (bool, str))}


FORM = view({"type": "section", "text": plain("Which one?")}, MODEL, WHERE, NOTE, SPEED)


def nowhere(slack: SandboxSlack) -> str:
    """A URL at which there is no app."""
    return slack.api_url.replace("/api/", "/nowhere")


async def opened(slack: SandboxSlack, web: AsyncWebClient, form: JsonObject, channel: str = "C0MODELS") -> Modal:
    """Open a modal with a trigger that ada made there."""
    await web.views_open(trigger_id=slack.new_trigger("U0ADA", channel), view=form)
    return await slack.wait_modal("U0ADA")


async def refusal(web: AsyncWebClient, method: str, **arguments: object) -> tuple[str, list[str]]:
    """The code with which Slack refused a call, and what it said of each fault."""
    with pytest.raises(SlackApiError) as raised:
        await web.api_call(method, json=arguments)
    answer = raised.value.response
    return str(answer["error"]), answer.get("response_metadata", {}).get("messages", [])


class TestOpening:
    """views.open exchanges a trigger, once and within three seconds, for a modal."""

    async def test_the_modal(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """It is before the person who made the trigger, with all that Slack adds."""
        modal = await opened(slack, web, FORM)

        assert (modal.user, modal.channel, modal.open) == ("U0ADA", "C0MODELS", True)
        assert modal.title == "Reload a model"
        assert modal.texts == ["Which one?", "Model", "Where", "Note", "Speed"]
        assert [field.label for field in modal.fields] == ["Model", "Where", "Note", "Speed"]
        assert modal.view.keys() >= FORM.keys() | {"id", "hash", "state", "root_view_id", "app_id", "bot_id", "team_id"}
        assert modal.id.startswith("V")

    async def test_a_view_may_be_a_string(self, slack: SandboxSlack, http: aiohttp.ClientSession) -> None:
        """Forms carry the view as JSON in a string."""
        trigger = slack.new_trigger("U0ADA", "")
        fields = {"trigger_id": trigger, "view": '{"type":"modal","title":{"type":"plain_text","text":"x"},"blocks":'}
        fields["view"] += '[{"type":"divider"}]}'
        headers = {"Authorization": f"Bearer {slack.bot_token}"}
        async with http.post(f"{slack.api_url}views.open", data=fields, headers=headers) as response:
            answer = await response.json()

        assert answer["view"]["id"] == (await slack.wait_modal("U0ADA")).id

    @pytest.mark.parametrize(
        ("trigger", "error"),
        [("nonsense", "invalid_trigger_id"), ("1.2.abc", "expired_trigger_id"), ("", "invalid_trigger_id")],
    )
    async def test_a_trigger_that_nobody_made(self, web: AsyncWebClient, trigger: str, error: str) -> None:
        """Only Slack makes triggers."""
        assert await refusal(web, "views.open", trigger_id=trigger, view=FORM) == (error, [])

    async def test_a_trigger_is_good_once(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """A second modal needs a second trigger; what was refused for its view leaves the trigger good."""
        trigger = (await slack.command("")).trigger_id
        faulty = await refusal(web, "views.open", trigger_id=trigger, view={"type": "modal"})
        await web.views_open(trigger_id=trigger, view=FORM)

        assert faulty[0] == "invalid_arguments"
        assert await refusal(web, "views.open", trigger_id=trigger, view=FORM) == ("exchanged_trigger_id", [])

    async def test_a_trigger_is_good_for_three_seconds(
        self, slack: SandboxSlack, web: AsyncWebClient, now: list[float]
    ) -> None:
        """After that, whoever made it looks elsewhere."""
        first, second = slack.new_trigger("U0ADA", ""), slack.new_trigger("U0ADA", "")
        now[0] += 3
        await web.views_open(trigger_id=first, view=FORM)
        now[0] += 1

        assert await refusal(web, "views.open", trigger_id=second, view=FORM) == ("expired_trigger_id", [])
        assert len(slack.modals_of("U0ADA")) == 1

    async def test_waiting_in_vain(self, slack: SandboxSlack) -> None:
        """Whoever waits for a modal that does not come is told so."""
        with pytest.raises(TimeoutError, match="U0ADA has no modal open"):
            await slack.wait_modal("U0ADA", within=0)

    async def test_a_home_is_no_modal(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """views.open takes modals only."""
        trigger = slack.new_trigger("U0ADA", "")
        home = {"type": "home", "blocks": [{"type": "divider"}]}
        says = "[ERROR] must be a view of type modal [json-pointer:/view/type]"

        assert await refusal(web, "views.open", trigger_id=trigger, view=home) == ("invalid_arguments", [says])

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            (None, ("invalid_arguments", ["[ERROR] missing required field: view"])),
            ("[]", ("invalid_arguments", ["[ERROR] missing required field: view"])),
            ({"type": "modal", "x": "x" * 250_000}, ("view_too_large", [])),
        ],
    )
    async def test_what_is_no_view(
        self, slack: SandboxSlack, web: AsyncWebClient, form: object, error: tuple[str, list[str]]
    ) -> None:
        """A view is an object, and not too large."""
        assert await refusal(web, "views.open", trigger_id=slack.new_trigger("U0ADA", ""), view=form) == error


class TestUpdating:
    """views.update changes what an open modal shows."""

    async def test_the_same_modal_shows_another_view(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """Its id stays, its hash does not."""
        modal = await opened(slack, web, FORM)
        before = modal.view["hash"]
        answer = await web.views_update(view_id=modal.id, view=view(NOTE), hash=str(before))

        assert answer["view"]["id"] == modal.id
        assert [field.label for field in modal.fields] == ["Note"]
        assert modal.view["hash"] != before

    async def test_by_an_id_of_the_apps_own(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """An external_id names the view too."""
        modal = await opened(slack, web, view(NOTE, external_id="mine"))
        await web.views_update(external_id="mine", view=view(SPEED))

        assert [field.label for field in modal.fields] == ["Speed"]

    async def test_what_cannot_be_updated(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """A modal that is closed, one that there never was, one that changed meanwhile."""
        modal = await opened(slack, web, FORM)
        conflict = await refusal(web, "views.update", view_id=modal.id, view=FORM, hash="old")
        await slack.close_modal(modal, user="U0ADA")

        assert conflict == ("hash_conflict", [])
        assert await refusal(web, "views.update", view_id=modal.id, view=FORM) == ("not_found", [])
        assert await refusal(web, "views.update", external_id="", view=FORM) == ("not_found", [])


class Form:
    """An app with one form, which is answered as `answer` says."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.answer: JsonObject = {}
        self.options: JsonObject = {"options": [option("sdxl"), option("flux")]}
        app.bolt.view("form")(self._submit)
        app.bolt.view_closed("form")(self._close)
        app.bolt.options("model")(self._suggest)
        app.bolt.action("again")(self._close)

    async def _submit(self, ack: AsyncAck) -> None:
        _answer(ack, self.answer)

    async def _close(self, ack: AsyncAck) -> None:
        await ack()

    async def _suggest(self, ack: AsyncAck) -> None:
        _answer(ack, self.options)

    @property
    def state(self) -> object:
        """What was filled in."""
        shown = self.app.payload["view"]
        assert isinstance(shown, dict)
        return shown["state"]


def _answer(ack: AsyncAck, body: JsonObject) -> None:
    """Answer with anything at all, where Bolt would refuse some."""
    ack.response = BoltResponse(status=200, body=json.dumps(body) if body else "")


@pytest.fixture
def form(app: App) -> Form:
    """An app with a form."""
    return Form(app)


@pytest.fixture
async def modal(slack: SandboxSlack, web: AsyncWebClient) -> Modal:
    """The form, open."""
    return await opened(slack, web, FORM)


class TestTypeahead:
    """An external_select asks the app at what is typed."""

    async def test_what_the_app_gets(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """The payload is that of https://docs.slack.dev/reference/interaction-payloads/block_suggestion-payload."""
        options = await slack.suggest(modal, "s", user="U0ADA")

        assert options == [Option("sdxl", "sdxl"), Option("flux", "flux")]
        assert form.app.payload == {
            "type": "block_suggestion",
            "user": {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0TRYOUT"},
            "api_app_id": "A0TRYOUT",
            "token": "deprecated",
            "team": {"id": "T0TRYOUT", "domain": "sandbox"},
            "enterprise": None,
            "is_enterprise_install": False,
            "container": {"type": "view", "view_id": modal.id},
            "action_id": "model",
            "block_id": "MODEL",
            "value": "s",
            "view": modal.view,
        }

    async def test_groups_are_read_too(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """Options may come in groups."""
        form.options = {"option_groups": [{"label": plain("all"), "options": [option("sdxl")]}]}

        assert await slack.suggest(modal, "", user="U0ADA") == [Option("sdxl", "sdxl")]

    async def test_nothing_found(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """An empty list is an answer."""
        form.options = {"options": []}

        assert await slack.suggest(modal, "zzz", user="U0ADA") == []

    async def test_too_little_typed(self, slack: SandboxSlack, web: AsyncWebClient, form: Form) -> None:
        """By default three characters must be typed before the app is asked."""
        modal = await opened(slack, web, view(asks("Model", {"type": "external_select", "action_id": "model"})))
        options = [await slack.suggest(modal, query, user="U0ADA") for query in ("sd", "sdx")]

        assert [len(offered) for offered in options] == [0, 2]
        assert [sent["value"] for sent in form.app.payloads if sent.get("type") == "block_suggestion"] == ["sdx"]

    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"options": [option("x" * 76)]}, r"less than 76 characters \[json-pointer:/options/0/text/text\]"),
            ({"options": [{"text": plain("x"), "value": "x" * 151}]}, r"less than 151 .*/options/0/value\]"),
            ({"options": [{"text": plain("x")}]}, r"missing required field: value \[json-pointer:/options/0\]"),
            ({"options": [option(str(n)) for n in range(101)]}, r"a list of 1 to 100 items \[json-pointer:/options\]"),
            ({"options": ["sdxl"]}, "must be an option"),
            ({}, "a list of 1 to 100 items"),
        ],
    )
    async def test_what_slack_would_not_show(
        self, slack: SandboxSlack, form: Form, modal: Modal, options: JsonObject, fault: str
    ) -> None:
        """The limits on options hold for these too."""
        form.options = options

        with pytest.raises(Refused, match=fault):
            await slack.suggest(modal, "", user="U0ADA")

    async def test_without_an_answer(self, slack: SandboxSlack, modal: Modal) -> None:
        """Slack's own word for it is told."""
        slack.request_url = nowhere(slack)

        with pytest.raises(Refused, match="dispatch_failed"):
            await slack.suggest(modal, "", user="U0ADA")

    async def test_options_may_be_asked_for_elsewhere(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """Over HTTP, an app may have a URL for options alone."""
        slack.options_url = nowhere(slack)

        with pytest.raises(Refused, match="dispatch_failed"):
            await slack.suggest(modal, "", user="U0ADA")
        assert (await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA")).error == ""
        assert form.app.payload["type"] == "view_submission"

    async def test_a_view_without_one(self, slack: SandboxSlack, web: AsyncWebClient) -> None:
        """Where nothing can be typed, nothing is offered."""
        modal = await opened(slack, web, view(NOTE))

        with pytest.raises(LookupError, match="no field ''"):
            await slack.suggest(modal, "", user="U0ADA")


class TestSubmitting:
    """A submission carries what was filled in, and what the app answers is done."""

    async def test_what_the_app_gets(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """The payload is that of https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload."""
        await slack.suggest(modal, "", user="U0ADA")
        ack = await slack.submit(modal, {"Model": "sdxl", "note": "please"}, user="U0ADA")
        sent = form.app.payload
        shown, urls = sent.pop("view"), sent.pop("response_urls")

        assert sent == {
            "type": "view_submission",
            "user": {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0TRYOUT"},
            "api_app_id": "A0TRYOUT",
            "token": "deprecated",
            "team": {"id": "T0TRYOUT", "domain": "sandbox"},
            "enterprise": None,
            "is_enterprise_install": False,
            "trigger_id": ack.trigger_id,
        }
        assert shown == modal.view | {
            "state": {
                "values": {
                    "MODEL": {
                        "model": {
                            "type": "external_select",
                            "selected_option": {
                                "text": {"type": "plain_text", "text": "sdxl", "emoji": True},
                                "value": "sdxl",
                            },
                        }
                    },
                    "WHERE": {"where": {"type": "conversations_select", "selected_conversation": "C0MODELS"}},
                    "NOTE": {"note": {"type": "plain_text_input", "value": "please"}},
                    "SPEED": {"speed": {"type": "static_select", "selected_option": option("slow")}},
                }
            }
        }
        assert isinstance(urls, list)
        assert [url | {"response_url": ""} for url in urls if isinstance(url, dict)] == [
            {"block_id": "WHERE", "action_id": "where", "channel_id": "C0MODELS", "response_url": ""}
        ]
        assert not modal.open

    async def test_a_response_url_reaches_the_channel_that_was_chosen(
        self, slack: SandboxSlack, form: Form, modal: Modal, http: aiohttp.ClientSession
    ) -> None:
        """It says something in the place that the person chose."""
        await slack.submit(modal, {"Model": "sdxl", "Where": "C0OPS"}, user="U0ADA")
        (url,) = urls if isinstance(urls := form.app.payload["response_urls"], list) else []
        assert isinstance(url, dict)
        await http.post(str(url["response_url"]), json={"text": "hello", "response_type": "in_channel"})

        assert [(m.channel, m.text, m.via) for m in slack.messages] == [("C0OPS", "hello", "response_url")]

    @pytest.mark.parametrize(
        ("values", "why"),
        [
            ({}, "'Model' must be filled in"),
            ({"Model": "sdxl", "Mood": "good"}, r"no field 'Mood': there are \['Model', 'Where', 'Note', 'Speed'\]"),
            ({"Model": "sdxl", "Speed": "warp"}, r"'warp' cannot be chosen in 'Speed': there are \['slow', 'fast'\]"),
            ({"Model": "sdxl", "Where": "DU0ADA"}, "DU0ADA cannot be chosen in 'Where'"),
        ],
    )
    async def test_what_nobody_can_submit(
        self, slack: SandboxSlack, form: Form, modal: Modal, values: dict[str, str], why: str
    ) -> None:
        """Slack itself sees to it that forms are filled in, with what there is to choose."""
        with pytest.raises(LookupError, match=why):
            await slack.submit(modal, values, user="U0ADA")
        assert form.app.payloads == []

    async def test_any_field_can_be_another(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """A test says what is different about its submission, and can submit a second time the same way."""
        first = await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA", team={"id": "T0EVIL"})
        again = await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA", trigger_id=first.trigger_id)

        assert form.app.payloads[-2]["team"] == {"id": "T0EVIL"}
        assert again.trigger_id == first.trigger_id

    async def test_errors_keep_it_open(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """Errors stand beside their fields until the next submission."""
        form.answer = {"response_action": "errors", "errors": {"MODEL": "There is no such model."}}
        await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA")
        first = (modal.open, modal.errors)
        form.answer = {}
        await slack.submit(modal, {"Model": "flux"}, user="U0ADA")

        assert first == (True, {"Model": "There is no such model."})
        assert (modal.open, modal.errors) == (False, {})

    async def test_an_update_changes_it(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """The modal stays, and shows another view."""
        form.answer = {"response_action": "update", "view": view(NOTE)}
        await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA")

        assert modal.open
        assert modal.texts == ["Note"]

    async def test_a_push_lies_on_top(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """Three may lie on each other; clearing takes all of them away."""
        form.answer = {"response_action": "push", "view": view(NOTE)}
        await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA")
        second = await slack.wait_modal("U0ADA")
        await slack.submit(second, user="U0ADA")
        third = await slack.wait_modal("U0ADA")
        refused = await slack.submit(third, user="U0ADA")
        depth = len(slack.modals_of("U0ADA"))
        form.answer = {"response_action": "clear"}
        await slack.submit(third, user="U0ADA")

        assert (second.view["previous_view_id"], second.view["root_view_id"]) == (modal.id, modal.id)
        assert (third.view["previous_view_id"], third.view["root_view_id"]) == (second.id, modal.id)
        assert (refused.error, depth) == ("push_limit_reached", 3)
        assert slack.modals_of("U0ADA") == []

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            ({"response_action": "errors", "errors": {"MOOD": "Bad."}}, "invalid_response_action"),
            ({"response_action": "errors", "errors": {}}, "invalid_response_action"),
            ({"response_action": "errors"}, "invalid_response_action"),
            ({"response_action": "shrug"}, "invalid_response_action"),
            ({"text": "thank you"}, "invalid_response_action"),
            ({"response_action": "update", "view": {"type": "modal"}}, "invalid_arguments"),
        ],
    )
    async def test_an_answer_that_slack_does_not_understand(
        self, slack: SandboxSlack, form: Form, modal: Modal, answer: JsonObject, error: str
    ) -> None:
        """The person is told that something went wrong, and the modal stays."""
        form.answer = answer
        ack = await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA")

        assert ack.error.startswith(error)
        assert modal.open

    async def test_without_an_answer_it_stays(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """Where the app is away, the modal stays."""
        slack.request_url = nowhere(slack)
        ack = await slack.submit(modal, {"Model": "sdxl"}, user="U0ADA")

        assert (ack.error, modal.open, form.app.payloads) == ("dispatch_failed", True, [])

    async def test_what_fields_begin_with(self, slack: SandboxSlack, web: AsyncWebClient, form: Form) -> None:
        """A field that nobody touches keeps what the app put there; where it put nothing, there is nothing."""
        blocks: list[JsonObject] = [
            asks("Note", {"type": "plain_text_input", "action_id": "x", "initial_value": "hi"}),
            asks("In", {"type": "channels_select", "action_id": "x", "initial_channel": "C0OPS"}),
            asks("By", {"type": "users_select", "action_id": "x", "initial_user": "U0BEN"}),
            asks("To", {"type": "conversations_select", "action_id": "x", "initial_conversation": "C0OPS"}),
            asks("Free", {"type": "conversations_select", "action_id": "x"}, optional=True),
            {"type": "actions", "block_id": "MORE", "elements": [{"type": "users_select", "action_id": "x"}]},
        ]
        await slack.submit(await opened(slack, web, view(*blocks)), user="U0ADA")
        kinds = {"type": "conversations_select"}

        assert form.state == {
            "values": {
                "NOTE": {"x": {"type": "plain_text_input", "value": "hi"}},
                "IN": {"x": {"type": "channels_select", "selected_channel": "C0OPS"}},
                "BY": {"x": {"type": "users_select", "selected_user": "U0BEN"}},
                "TO": {"x": {**kinds, "selected_conversation": "C0OPS"}},
                "FREE": {"x": {**kinds, "selected_conversation": None}},
                "MORE": {"x": {"type": "users_select", "selected_user": None}},
            }
        }

    @pytest.mark.parametrize(
        ("channel", "chosen"), [("C0MODELS", "C0MODELS"), ("DU0ADA", None), ("G0SECRET", None), ("", None)]
    )
    async def test_where_the_person_is(
        self, slack: SandboxSlack, web: AsyncWebClient, form: Form, channel: str, chosen: str | None
    ) -> None:
        """A select may begin with the conversation where the modal opened, if it lists conversations of that kind."""
        slack.add_channel("G0SECRET", "secret", private=True)
        await web.views_open(trigger_id=slack.new_trigger("U0ADA", channel), view=view(WHERE | {"optional": True}))
        await slack.submit(await slack.wait_modal("U0ADA"), user="U0ADA")

        assert form.state == {
            "values": {"WHERE": {"where": {"type": "conversations_select", "selected_conversation": chosen}}}
        }


class TestClosing:
    """A modal that is closed is gone, and the app hears of it if it asked to."""

    @pytest.mark.parametrize("cleared", [False, True])
    async def test_an_app_that_asked(
        self, slack: SandboxSlack, web: AsyncWebClient, form: Form, *, cleared: bool
    ) -> None:
        """The payload tells whether the whole stack went."""
        modal = await opened(slack, web, view(NOTE, notify_on_close=True))
        ack = await slack.close_modal(modal, user="U0ADA", cleared=cleared)

        assert ack is not None
        assert (ack.error, modal.open) == ("", False)
        assert form.app.payload == {
            "type": "view_closed",
            "user": {"id": "U0ADA", "username": "ada", "name": "ada", "team_id": "T0TRYOUT"},
            "api_app_id": "A0TRYOUT",
            "token": "deprecated",
            "team": {"id": "T0TRYOUT", "domain": "sandbox"},
            "enterprise": None,
            "is_enterprise_install": False,
            "view": modal.view,
            "is_cleared": cleared,
        }

    async def test_an_app_that_did_not(self, slack: SandboxSlack, form: Form, modal: Modal) -> None:
        """It hears nothing."""
        assert await slack.close_modal(modal, user="U0ADA") is None
        assert (modal.open, form.app.payloads) == (False, [])


async def test_a_button_in_a_modal(slack: SandboxSlack, web: AsyncWebClient, form: Form) -> None:
    """Its payload has the view in a message's place, and nowhere to answer to but by the trigger."""
    button: JsonObject = {"type": "button", "text": plain("Again"), "action_id": "again"}
    modal = await opened(slack, web, view({"type": "actions", "elements": [button]}))
    ack = await slack.press_in(modal, "Again", user="U0ADA")
    sent = form.app.payload
    await web.views_open(trigger_id=ack.trigger_id, view=FORM)

    assert (sent["container"], sent["view"]) == ({"type": "view", "view_id": modal.id}, modal.view)
    assert not sent.keys() & {"channel", "message", "response_url"}
    assert (await slack.wait_modal("U0ADA")).channel == "C0MODELS"


async def test_a_shortcut_has_no_channel(slack: SandboxSlack, web: AsyncWebClient, app: App) -> None:
    """The payload is that of https://docs.slack.dev/reference/interaction-payloads/shortcuts-interaction-payload."""

    @app.bolt.shortcut("reload")
    async def take(ack: AsyncAck) -> None:
        await ack()

    ack = await slack.shortcut("reload", user="U0ADA", channel="C0OPS")
    sent = app.payload
    stamp = sent.pop("action_ts")
    await web.views_open(trigger_id=ack.trigger_id, view=FORM)

    assert sent == {
        "type": "shortcut",
        "token": "deprecated",
        "team": {"id": "T0TRYOUT", "domain": "sandbox"},
        "user": {"id": "U0ADA", "username": "ada", "team_id": "T0TRYOUT"},
        "callback_id": "reload",
        "trigger_id": ack.trigger_id,
        "enterprise": None,
        "is_enterprise_install": False,
    }
    assert isinstance(stamp, str)
    assert (await slack.wait_modal("U0ADA")).channel == "C0OPS"
