"""The tutorial: every step is complete, has a check, and its check is true exactly when the record shows it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pickup_learn import acts, glossary, sources, tutorial
from pickup_learn.join import Message, join
from pickup_learn.steps import NOT_YET, STEPS, Verdict
from pickup_learn.verdicts import ALL
from pickup_web.message_row import Note, content_of, row_of
from tests.learn.rows import SID, Story, four_clicks
from tests.learn.services import World
from tests.learn.test_acts import joined
from tests.tokens import jws

ALL_STEPS = [step for chapter in tutorial.chapters() for step in chapter.steps]
PAGES = ["glossary", "quiz", "cheat-sheet", "receiver"]
CODE = re.compile(r"\]\(\.\./\.\./([\w/.]+)#(\w+)\)")
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def messages_of(story: Story, reason: str | None = None) -> list[Message]:
    """What the service has collected, each message with its act. ``reason``: of the event ``op.session.ended``."""
    messages = joined(story)
    given = acts.assign(messages, {SID: reason} if reason else {}, {}, "a1")
    return acts.in_order({**message, "act": given[message["key"]]} for message in messages)


def verdicts(story: Story) -> dict[str, Verdict]:
    """The verdict of each step."""
    messages = messages_of(story)
    return {name: check(messages) for name, check in STEPS.items()}


# --- what is written ---


def test_each_step_has_a_check_and_each_check_a_step() -> None:
    assert [step.name for step in ALL_STEPS] == list(STEPS)


@pytest.mark.parametrize("step", ALL_STEPS, ids=lambda step: step.name)
def test_each_step_has_all_its_parts(step: tutorial.Step) -> None:
    assert set(step.parts) == set(tutorial.PARTS)
    assert len(step.options) >= 2
    assert 1 <= step.right <= len(step.options)
    assert CODE.search(step.parts["In the code"]), "it names a function in a file"
    assert "\n    curl " in step.parts["In the code"] + step.parts["Do"], "it has a command to try"


@pytest.mark.parametrize("path", sorted(tutorial.FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_each_link_leads_to_a_file(path: Path) -> None:
    for target in LINK.findall(path.read_text("utf-8")):
        assert target.startswith("http://") or (path.parent / target).resolve().is_file(), target


@pytest.mark.parametrize("path", sorted(tutorial.FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_each_named_function_exists(path: Path) -> None:
    for file, name in CODE.findall(path.read_text("utf-8")):
        assert name in sources.names_in(file), f"{file} has no {name}"


def test_page_links_each_term_once_and_never_inside_a_link() -> None:
    text = "A `sid` is no cookie. See the [logout token](4-the-logout-token.md): logout tokens have a `sid`."
    rendered = tutorial.html(text, {}, "", set())
    assert rendered.count('href="../tutorial/glossary#sid"') == 1
    assert rendered.count('href="../tutorial/glossary#logout-token"') == 1
    assert '<a href="4-the-logout-token">logout token</a>' in rendered


def test_link_to_an_app_or_to_a_page_of_learn_opens_a_tab_beside_the_chapter() -> None:
    rendered = tutorial.html("[Dispatch](http://dispatch.localhost:8080/), then [next](2-two.md)", {}, "")
    opened = '<a href="http://dispatch.localhost:8080/" target="_blank" rel="noopener">Dispatch<span class="unseen">'
    assert f"{opened} (opens in a new tab)</span></a>" in rendered
    assert '<a href="2-two">next</a>' in rendered


def test_glossary_has_an_anchor_for_each_of_its_terms() -> None:
    rendered = tutorial.html(tutorial.pages()["glossary"], {}, "")
    assert all(f'id="{anchor}"' in rendered for anchor in glossary.terms().values())


def test_link_to_a_function_says_its_lines() -> None:
    link = tutorial.html("[here](../../relying_party/live.py#watch)", {}, "/source/")
    assert re.search(
        r'<a href="/source/relying_party/live.py#watch">here</a>, lines \d+.\d+$', link.removesuffix("</p>\n")
    )


def test_quiz_has_twelve_questions() -> None:
    assert tutorial.pages()["quiz"].count("<summary>Answer</summary>") == 12


@pytest.mark.parametrize("name", ["../figures", "README", "no-such-page"])
def test_only_pages_of_the_tutorial_are_pages(name: str) -> None:
    assert name not in tutorial.pages()


# --- what is checked ---


def test_no_step_is_done_at_the_start() -> None:
    assert set(verdicts(Story()).values()) == {NOT_YET}


def half_recorded(told: str) -> Story:
    """The four clicks, while the IdP's record and the other app's token are missing."""
    story = four_clicks()
    others = ("backchannel_logout", "logout_request")
    story.rows["idp"] = [row for row in story.rows["idp"] if row["kind"] not in others]
    for app in {"dispatch", "manager"} - {told}:
        story.rows[app] = [row for row in story.rows[app] if row["kind"] != "backchannel_logout"]
    return story


def test_logout_is_not_judged_before_the_idps_record_of_it_is_here() -> None:
    """Which apps were told is the answer: it must not be read while the other app's token is missing."""
    assert verdicts(half_recorded(told="manager"))["log-out"] == NOT_YET
    assert verdicts(four_clicks())["log-out"].answer == 3


def test_four_clicks_do_the_first_chapters() -> None:
    found = verdicts(four_clicks())
    chapters = tutorial.chapters()[:4]
    expected = {step.name: step.right for chapter in chapters for step in chapter.steps}
    expected.pop("two-minutes")  # the fixture's tokens have no times
    assert {name: (found[name].seen, found[name].answer) for name in expected} == {
        name: (True, right) for name, right in expected.items()
    }


def test_control_a_sign_in_is_no_logout() -> None:
    story = Story()
    story.sign_in("dispatch", asked=True)
    found = verdicts(story)
    assert [name for name, verdict in found.items() if verdict.seen] == ["start", "password", "code", "id-token"]


def test_password_at_manager_is_no_single_sign_on() -> None:
    story = Story()
    story.sign_in("dispatch", asked=True)
    story.sign_in("manager", asked=True)
    assert not verdicts(story)["single-sign-on"].seen


def refused(story: Story, **row: object) -> None:
    story.add("manager", "backchannel_logout", "outside ⇒ manager", outcome="refused", **row)


def unsigned(story: Story) -> None:
    refused(
        story,
        status=400,
        tokens=[{"name": "logout_token", "where": "request", "header": {"alg": "none"}, "claims": {}}],
    )


def down(story: Story, status: int | None = None) -> None:
    story.add("dispatch", "log_out", "browser → dispatch", state="s", sid=SID)
    story.tell("manager", "first", status=status)
    story.add("dispatch", "logged_out", "browser → dispatch", state="s")


def back(story: Story) -> None:
    down(story)
    story.tell("manager", "second", status=200)


@pytest.mark.parametrize(
    ("step", "act", "control"),
    [
        ("garbage", lambda story: refused(story, status=400), lambda story: refused(story, status=200)),
        ("unsigned", unsigned, lambda story: refused(story, status=400)),
        ("get", lambda story: refused(story, status=405), lambda story: refused(story, status=400)),
        ("app-down", down, four_clicks),
        ("app-down", lambda story: down(story, status=502), lambda story: down(story, status=400)),  # 502: a proxy
        ("app-back", back, down),
    ],
)
def test_step_is_done_by_its_act_only(step: str, act: Callable[[Story], None], control: Callable[..., object]) -> None:
    done, other = Story(), Story()
    act(done)
    if control is four_clicks:
        other = four_clicks()
    else:
        control(other)
    right = {each.name: each.right for each in ALL_STEPS}[step]
    assert (verdicts(done)[step].seen, verdicts(done)[step].answer) == (True, right)
    assert not verdicts(other)[step].seen


@pytest.mark.parametrize("reason", ["operator", "elsewhere", None])
def test_only_an_operator_does_the_operators_step(reason: str | None) -> None:
    """The IdP's event says who ended the session. It may come after the logout token."""
    story = Story()
    story.tell("dispatch", "jti", status=200)
    assert STEPS["operator"](messages_of(story, reason)).seen == (reason == "operator")


# --- the front channel ---

ASKED = {"frontchannel_logout_uri": {"pickup-manager": "http://manager.localhost:8081/pickup-manager/fclogout"}}


def framed(story: Story, *, cookie: bool = True, arrives: bool = True, status: int | None = None) -> None:
    """A logout of Dispatch with a frame of Manager. ``status``: of a logout token for Manager; None: it has none."""
    story.add("dispatch", "log_out", "browser → dispatch", state="s", sid=SID, status=303)
    if status is not None:
        story.tell("manager", "first", status=status or None)
    story.tell("dispatch", "other", status=200)
    story.add("idp", "logout_request", "browser → idp", state="s", sid=SID, got=ASKED)
    if arrives:
        row = story.add("manager", "frontchannel_logout", "browser → manager", sid=SID)
        row["outcome"] = "ok" if cookie else "refused"
        row["request"]["headers"] = {"cookie": "pickup_manager_frontchannel=…"} if cookie else {}
    story.add("dispatch", "logged_out", "browser → dispatch", state="s")


def framed_while_down(story: Story) -> None:
    framed(story, arrives=False, status=0)
    story.tell("manager", "second", status=200)


FRONT: dict[str, Callable[[Story], None]] = {
    "front-works": framed,
    "front-blocked": lambda story: framed(story, cookie=False),
    "front-and-back": lambda story: framed(story, cookie=False, status=200),
    "front-down": framed_while_down,
}


@pytest.mark.parametrize("step", FRONT)
def test_each_step_of_the_front_channel_is_done_by_its_own_act(step: str) -> None:
    story = Story()
    FRONT[step](story)
    right = {each.name: each.right for each in ALL_STEPS}
    done = {name: verdict.answer for name, verdict in verdicts(story).items() if name in right and verdict.seen}
    assert {name: answer for name, answer in done.items() if name.startswith("front")} == {step: right[step]}


@pytest.mark.parametrize(
    "options",
    [
        {"cookie": True, "status": 200},  # both arrive: the front channel works, but not alone
        {"arrives": False},  # perhaps Manager's record is not here yet
        {"arrives": False, "status": 0},  # Manager is still down
    ],
    ids=str,
)
def test_control_no_step_of_the_front_channel_is_done_by_another_logout(options: dict[str, Any]) -> None:
    story = Story()
    framed(story, **options)
    assert not [name for name, verdict in verdicts(story).items() if name.startswith("front") and verdict.seen]


@pytest.mark.parametrize(("was_framed", "reason", "is_done"), [(1, "operator", 1), (0, "operator", 0), (1, None, 0)])
def test_operators_logout_without_a_frame_counts_after_one_with_a_frame(
    was_framed: int, reason: str | None, is_done: int
) -> None:
    story = Story()
    if was_framed:
        story.add("idp", "logout_request", "browser → idp", state="s", sid="an earlier session", got=ASKED)
    story.tell("manager", "jti", status=200)
    verdict = STEPS["front-closed"](messages_of(story, reason))
    assert (verdict.seen, verdict.answer) == ((True, 1) if is_done else (False, None))


# --- the pages ---


@pytest.mark.parametrize(
    "name", ["", *(f"/{each.name}" for each in tutorial.chapters()), *(f"/{each}" for each in PAGES)]
)
def test_each_page_of_the_tutorial_is_shown_with_this_stacks_addresses(world: World, name: str) -> None:
    answer = world.client.get(f"/tutorial{name}")
    assert answer.status_code == 200
    assert "<h1" in answer.text


def test_steps_are_asked_of_the_record(after_four_clicks: World) -> None:
    found = after_four_clicks.get("steps")
    assert found["people"] == ["cameron"]
    assert found["steps"]["log-out"]["seen"] is True
    assert len(found["steps"]["log-out"]["keys"]) == 2


@pytest.mark.parametrize("query", ["since=9999999999999", "person=alex"])
def test_earlier_messages_and_those_of_another_person_do_not_count(after_four_clicks: World, query: str) -> None:
    assert not any(step["seen"] for step in after_four_clicks.get(f"steps?{query}")["steps"].values())


def test_files_of_the_repository_are_shown_with_line_numbers(world: World) -> None:
    answer = world.client.get("/tutorial/source/idp/flow/token.py")
    assert answer.status_code == 200
    assert 'id="L1"' in answer.text
    assert "def exchange_code" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "no/such.py",
        "idp/seed.toml",
        "../../etc/passwd",
        "idp/../.env",
        ".env",
        "scripts/tls.py",
        "idp/../gunicorn.conf.py",
        "idp/%2e%2e/tests/conftest.py",
        f"idp/{'a' * 300}.py",
        "idp/%00.py",
    ],
)
def test_no_other_file_is_shown(world: World, path: str) -> None:
    assert world.client.get(f"/tutorial/source/{path}").status_code == 404


def test_page_with_an_impossible_name_does_not_exist(world: World) -> None:
    assert world.client.get(f"/tutorial/{'a' * 300}").status_code == 404


HOSTILE: list[Any] = [None, 5, 10**400, float("inf"), "x", True, [], ["x"], {}, {"a": {}}]


@pytest.mark.parametrize("claim", ["iss", "aud", "iat", "exp", "jti", "events", "sub", "sid", "nonce"])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_forged_token_fails_no_check(claim: str, status: int) -> None:
    """Anyone can send an app such a token. One of them must not stop the ticks of the room."""
    for value in HOSTILE:
        note = Note("backchannel_logout", "in", "idp", "manager", "POST", "http://manager.example/bclogout", "t-s")
        note.status = status
        claims = {"iat": 1, "exp": 2, "events": {}, "jti": "j", claim: value}
        note.request_parameters = {"logout_token": [jws({"alg": "none", "typ": value}, claims, None)]}
        known = join(None, {"id": 1, **json.loads(content_of(row_of(note, "manager")))})
        message = {**known, "act": {"id": "a", "name": "Logout", "person": None, "sid": None, "at": note.at}}
        for check in ALL.values():
            check([message, message])
