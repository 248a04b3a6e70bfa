"""The labs: each is complete, has a check, and its check is true exactly when the record shows it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pickup_learn import acts, tutorial
from pickup_learn.join import Message, join, key_of
from pickup_learn.labs import CHECKS
from pickup_learn.labs.watch import OVERTAKEN
from pickup_learn.steps import NOT_YET, STEPS
from tests.learn.rows import SID, Story, four_clicks
from tests.learn.services import World
from tests.learn.test_tutorial import LINK, half_recorded, messages_of

ROOT = Path(__file__).parents[2]
LABS = list(tutorial.labs().values())

# --- what is written ---


def test_each_lab_has_a_check_and_each_check_a_lab() -> None:
    assert set(CHECKS) == set(tutorial.labs())
    assert not CHECKS.keys() & STEPS.keys(), "the ticks of the tutorial have other names"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_each_lab_has_all_its_parts(lab: tutorial.Step) -> None:
    assert set(lab.parts) == set(tutorial.LAB_PARTS)
    assert len(lab.options) >= 2
    assert 1 <= lab.right <= len(lab.options)
    assert lab.kind in tutorial.KINDS


@pytest.mark.parametrize("path", sorted(tutorial.LABS.glob("*.md")), ids=lambda path: path.stem)
def test_each_lab_is_a_file_of_its_name_whose_links_lead_to_files(path: Path) -> None:
    assert path.stem in {*tutorial.labs(), "README"}
    for target in LINK.findall(path.read_text("utf-8")):
        assert target.startswith("http://") or (path.parent / target).resolve().is_file(), target


def test_file_that_does_not_name_its_lab_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.md"
    path.write_text("# A lab\n\n**Goal.** …\n", "utf-8")
    with pytest.raises(ValueError, match=r"new\.md does not begin with"):
        tutorial.read_lab(path)


# --- what is checked ---


def test_no_lab_is_done_at_the_start() -> None:
    assert {check([]) for check in CHECKS.values()} == {NOT_YET}


def in_session(sid: str, story: Story, later: int = 0) -> list[Message]:
    """The story's messages, in another session, and so many milliseconds later."""
    text = json.dumps(story.all_rows()).replace(SID, sid).replace("xyz…", f"{sid}…")
    text = text.replace('"state-', f'"{sid}-state-').replace('"out-', f'"{sid}-out-')
    rows = json.loads(re.sub(r'"trace": "', f'"trace": "{sid}', text))
    messages: dict[str, Message] = {}
    for row in rows:
        row["at"] += later
        messages[key_of(row)] = join(messages.get(key_of(row)), row)
    return list(messages.values())


def lab(step: str, *parts: list[Message], reasons: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Whether these messages together do the lab. ``reasons``: why sessions ended, by ``sid``."""
    messages = [message for part in parts for message in part]
    given = acts.assign(messages, reasons, {}, "a1")
    return CHECKS[step](acts.in_order({**message, "act": given[message["key"]]} for message in messages)).seen


def sign_ins(*apps: str) -> Story:
    story = Story()
    for app in apps:
        story.sign_in(app, asked=True)
    return story


def test_apps_are_told_that_took_part_in_the_session_the_initiator_among_them() -> None:
    alone, shared = sign_ins("dispatch"), sign_ins("dispatch", "manager")
    alone.log_out("dispatch")
    both = [in_session("alone", alone), in_session("shared", shared, 60_000)]
    assert not lab("who-is-told", *both), "the second session has not ended"
    shared.log_out("dispatch", "manager")
    assert lab("who-is-told", both[0], in_session("shared", shared, 60_000))
    untold = sign_ins("dispatch", "manager")
    untold.log_out("dispatch")
    assert not lab("who-is-told", both[0], in_session("shared", untold, 60_000)), "Manager was left out"


@pytest.mark.parametrize(("reason", "is_done"), [("elsewhere", True), ("operator", True), ("logout", False)])
def test_closed_browser_needs_no_push(reason: str, is_done: bool) -> None:
    story, later = sign_ins("dispatch", "manager"), in_session("later", sign_ins("dispatch"), 60_000)
    story.tell("dispatch", "one", status=200)
    story.tell("manager", "two", status=200)
    assert lab("browser-closed", in_session("s", story), later, reasons={"s": reason}) is is_done
    assert not lab("browser-closed", in_session("s", story), reasons={"s": reason}), "a push may still come"
    story.add("manager", "push", "manager ↠ browser", sid=SID)
    assert not lab("browser-closed", in_session("s", story), later, reasons={"s": reason}), "a tab was open"


def test_two_browsers_are_two_sessions_and_one_ends() -> None:
    left, right = sign_ins("dispatch"), sign_ins("dispatch")
    both = [in_session("left", left), in_session("right", right, 1)]
    left.log_out("dispatch")
    assert lab("two-browsers", in_session("left", left), both[1])
    assert not lab("two-browsers", *both), "nobody has logged out"
    right.log_out("dispatch")
    assert not lab("two-browsers", in_session("left", left), in_session("right", right, 1)), "both have ended"


@pytest.mark.parametrize(("later", "is_done"), [(1, True), (60_000, False)])
def test_everywhere_is_two_sessions_at_once(later: int, is_done: bool) -> None:
    story = sign_ins("dispatch")
    story.tell("dispatch", "jti", status=200)
    assert lab("everywhere", in_session("left", story), in_session("right", story, later)) is is_done


@pytest.mark.parametrize(
    ("scope", "client", "sid", "is_done"),
    [
        ("openid offline_access", "pickup-practice", SID, True),
        ("openid", "pickup-practice", SID, False),
        ("openid offline_access", "pickup-practice", "another", False),
        ("openid offline_access", "pickup-other", SID, False),
    ],
)
def test_offline_access_is_renewed_after_the_logout_of_its_session(
    scope: str, client: str, sid: str, is_done: bool
) -> None:
    def tokens(grant: str, **known: Any) -> None:
        sent = {"grant_type": grant}
        story.add("idp", "token_request", "practice ⇒ idp", trace=grant, sent=sent, got={"scope": scope}, **known)

    story = sign_ins("dispatch")
    tokens("authorization_code", client_id="pickup-practice", sid=sid)
    early = in_session("s", story)
    story.log_out("dispatch")
    assert not lab("offline-access", early, in_session("s", story)), "the tokens were not used after the logout"
    tokens("refresh_token", client_id=client)
    assert lab("offline-access", in_session("s", story)) is is_done


@pytest.mark.parametrize(
    ("told_first", "why", "is_done"),
    [
        (True, OVERTAKEN, True),
        (True, None, False),
        (True, "Signing in took too long.", False),
        (False, OVERTAKEN, False),
    ],
)
def test_overtaken_login_is_refused_because_its_logout_was_first(
    told_first: bool, why: str | None, is_done: bool
) -> None:
    story = sign_ins("dispatch")
    if told_first:
        story.tell("manager", "early", status=200)
    story.sign_in("manager", asked=False)
    story.rows["manager"][-1].update(error_description=why, outcome="refused" if why else "redirect")
    if not told_first:
        story.tell("manager", "late", status=200)
    assert lab("overtaken", in_session("s", story)) is is_done


def test_words_of_the_overtaken_login_are_those_of_the_receiver() -> None:
    assert OVERTAKEN in (ROOT / "relying_party/sessions.py").read_text("utf-8")


def test_typo_is_mended_when_the_logout_was_delivered_after_all() -> None:
    story = sign_ins("dispatch", "manager")
    story.tell("manager", "first", status=404, outcome="refused")
    assert not lab("typo", in_session("s", story))
    story.tell("manager", "second", status=200)
    assert lab("typo", in_session("s", story))


@pytest.mark.parametrize(("told", "is_done"), [([], True), (["manager"], False)])
def test_app_with_the_policy_none_is_not_notified(told: list[str], is_done: bool) -> None:
    story = sign_ins("dispatch", "manager")
    story.log_out("dispatch", *told)
    assert lab("policy-none", in_session("s", story)) is is_done


def test_logout_is_not_judged_before_the_idps_record_of_it_is_here() -> None:
    for story in (half_recorded(told="dispatch"), four_clicks()):
        assert CHECKS["policy-none"](messages_of(story)) == NOT_YET


# --- the pages ---


def test_overview_lists_each_lab(world: World) -> None:
    page = world.client.get("/labs").text
    assert all(f'data-tick="{lab.name}"' in page for lab in LABS)


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_each_lab_is_shown_with_this_stacks_addresses(world: World, lab: tutorial.Step) -> None:
    answer = world.client.get(f"/labs/{lab.name}")
    assert answer.status_code == 200
    assert "<h1" in answer.text
    assert 'href="../' not in answer.text.replace('href="../tutorial/', "")


@pytest.mark.parametrize("name", ["README", "no-such-lab", "a" * 300])
def test_only_labs_are_shown(world: World, name: str) -> None:
    assert world.client.get(f"/labs/{name}").status_code == 404


def test_labs_are_asked_of_the_record(after_four_clicks: World) -> None:
    found = after_four_clicks.get("steps")["steps"]
    assert all(found[name]["seen"] is False for name in CHECKS)
