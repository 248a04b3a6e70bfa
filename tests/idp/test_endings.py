"""Every way a session ends: each has its reason, and every participating app is notified once."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from sqlalchemy.orm import Session
from werkzeug import Response

from idp.flow.session_ending import end_participations
from idp.models import IDLE_SECONDS, Client, Participation, SsoSession, Token, User
from idp.operations import people, sessions
from idp.outbox.reasons import Reason
from idp.sign_in.sso_session import ABSOLUTE_SECONDS
from pickup_web.database import engine_of
from tests.conftest import PASSWORD, Clock, SiteClient, eventually
from tests.idp.conftest import DISPATCH, MANAGER, Provider, TakeAct, hidden
from tests.idp.flow.test_session_ending import remove, tokens_with_consent
from tests.idp.operations.test_people import CAMERON, operate
from tests.idp.parties import Party
from tests.network import Request


@dataclass
class Scene:
    """Cameron, signed in at both apps in the first browser, and in the second one if the ending is triggered there."""

    provider: Provider
    clock: Clock
    first: SiteClient
    first_sid: str

    def second(self) -> SiteClient:
        """Another browser of the same user."""
        return self.provider.sign_in()


def in_an_app(scene: Scene) -> None:
    hint = scene.provider.tokens(scene.first, DISPATCH)["id_token"]
    scene.provider.end_session(scene.first, id_token_hint=hint)


def at_the_provider(scene: Scene) -> None:
    page = scene.provider.end_session(scene.first)
    scene.first.submit("/oidc/logout/confirm", request=hidden(page, "request"), answer="yes")


def from_another_browser(scene: Scene) -> None:
    second = scene.second()
    second.get(f"/account/sessions/{scene.first_sid}/end")
    second.submit(f"/account/sessions/{scene.first_sid}/end")


def all_others(scene: Scene) -> None:
    second = scene.second()
    second.get("/account/end-others")
    second.submit("/account/end-others")


def everywhere(scene: Scene) -> None:
    second = scene.second()
    second.get("/account/log-out-everywhere")
    second.submit("/account/log-out-everywhere")


def by_an_operator(scene: Scene) -> None:
    operate(scene.provider, sessions.end_one, scene.first_sid, Reason.OPERATOR, "admin")


def signed_out_by_an_operator(scene: Scene) -> None:
    assert operate(scene.provider, sessions.end_all_of, CAMERON, Reason.OPERATOR, "admin") == 1


def by_nobody_using_it(scene: Scene) -> None:
    scene.clock.turn(IDLE_SECONDS)
    scene.provider.state.background.poll()


def by_the_clock(scene: Scene) -> None:
    for _ in range(ABSOLUTE_SECONDS // 3600):
        assert scene.first.get("/account").status_code == 200, "the session is used"
        scene.clock.turn(3600)
    scene.provider.state.background.poll()


def by_a_new_password_of_their_own(scene: Scene) -> None:
    second = scene.second()
    second.get("/account/password")
    assert second.submit("/account/password", old=PASSWORD, new="another one", again="another one").status_code == 303


def by_a_new_password_from_an_operator(scene: Scene) -> None:
    operate(scene.provider, people.reset_password, CAMERON, "admin")


def by_being_disabled(scene: Scene) -> None:
    operate(scene.provider, people.disable_person, CAMERON, "admin")


def by_being_removed(scene: Scene) -> None:
    operate(scene.provider, people.remove_person, CAMERON, "admin")


def by_the_next_person(scene: Scene) -> None:
    scene.clock.turn(5)
    page = scene.provider.authorize(scene.first, prompt="login")
    scene.provider.enter_password(scene.first, page, "alex")


ENDINGS: list[tuple[Callable[[Scene], None], str, str]] = [
    (in_an_app, "logout", "You logged out of Pickup Dispatch."),
    (at_the_provider, "logout", "You logged out at the identity provider (IdP)."),
    (from_another_browser, "elsewhere", "You ended this session from another browser."),
    (all_others, "elsewhere", "You ended this session from another browser."),
    (everywhere, "everywhere", "You logged out everywhere."),
    (by_an_operator, "operator", "An operator ended your session."),
    (signed_out_by_an_operator, "operator", "An operator ended your session."),
    (by_nobody_using_it, "idle", "Your session expired because it was not used for a while."),
    (by_the_clock, "expired", "Your session expired."),
    (by_a_new_password_of_their_own, "password_changed", "Your password was changed."),
    (by_a_new_password_from_an_operator, "password_changed", "Your password was changed."),
    (by_being_disabled, "user_disabled", "Your account was disabled."),
    (by_being_removed, "user_removed", "Your account was removed."),
    (by_the_next_person, "replaced", "A different user signed in with this browser."),
]
each_ending = pytest.mark.parametrize(
    ("end", "reason", "sentence"), ENDINGS, ids=[end.__name__ for end, _, _ in ENDINGS]
)


@pytest.fixture
def scene(provider: Provider, cameron: SiteClient, clock: Clock) -> Scene:
    """See :class:`Scene`."""
    return Scene(provider, clock, cameron, provider.session().sid)


@each_ending
def test_every_ending_notifies_every_app_once_with_its_reason(
    end: Callable[[Scene], None], reason: str, sentence: str, scene: Scene
) -> None:
    """In the session row, in the events, and in the message that the apps show."""
    end(scene)
    provider = scene.provider
    ended = next(row for row in provider.rows(SsoSession) if row.sid == scene.first_sid)
    assert (ended.end_reason, ended.ended_at) == (reason, int(scene.clock()))
    assert [event.outcome for event in provider.events("op.session.ended") if event.sid == scene.first_sid] == [reason]
    for app in (DISPATCH, MANAGER):
        told = eventually(partial(provider.logout_tokens, app), f"{app} was never told")
        assert [(token["sid"], token["reason_user"]["en"]) for token in told] == [(scene.first_sid, sentence)]


@each_ending
def test_every_ending_invalidates_tokens_and_cookie(
    end: Callable[[Scene], None], reason: str, sentence: str, scene: Scene
) -> None:
    """At userinfo, at introspection and at the token endpoint."""
    tokens = scene.provider.tokens(scene.first, DISPATCH)
    assert scene.provider.works(tokens["access_token"]), "control"
    end(scene)
    with scene.provider.database() as rows:
        dead = {row.revoked_at is not None for row in rows.query(Token).filter(Token.sid == scene.first_sid)}
    assert dead == {True}
    assert not scene.provider.works(tokens["access_token"])
    assert not scene.provider.post("/oauth2/introspect", token=tokens["access_token"]).get_json()["active"]
    assert scene.provider.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    if reason != "replaced":  # there another user has a session in the browser
        answer = scene.provider.authorize(scene.first, prompt="none")
        assert "error=login_required" in answer.location
    del sentence


@pytest.mark.parametrize(
    ("policy", "plain", "offline"), [("none", True, True), ("session", False, True), ("all", False, False)]
)
def test_introspection_after_the_ending_follows_the_token_policy(
    policy: str, plain: bool, offline: bool, scene: Scene
) -> None:
    """Manager's API asks at each request."""
    provider = scene.provider
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"], delete_tokens_on_logout=policy)
    tokens = [
        provider.tokens(scene.first, DISPATCH, scope="openid"),
        tokens_with_consent(provider, scene.first, scope="openid offline_access"),
    ]

    def active() -> list[bool]:
        answers = [provider.post("/oauth2/introspect", MANAGER, token=one["access_token"]) for one in tokens]
        return [answer.get_json()["active"] for answer in answers]

    assert active() == [True, True]
    by_an_operator(scene)
    assert active() == [plain, offline]


# --- expiry ---


@pytest.mark.usefixtures("cameron")
@pytest.mark.parametrize("over", [IDLE_SECONDS, ABSOLUTE_SECONDS])
def test_exactly_one_worker_ends_an_expired_session(over: int, provider: Provider, clock: Clock) -> None:
    """Workers poll at the same moment: one of them ends the session, and each app gets one request."""
    clock.turn(over)
    together = threading.Barrier(4)

    def worker() -> None:
        together.wait()
        provider.state.background.poll()

    workers = [threading.Thread(target=worker) for _ in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    eventually(lambda: all(provider.delivery(app).state == "delivered" for app in (DISPATCH, MANAGER)))
    assert len(provider.events("op.session.ended")) == 1
    assert [len(provider.logout_tokens(app)) for app in (DISPATCH, MANAGER)] == [1, 1]


def test_visit_does_not_revive_an_expired_session(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """Also before the background loop has ended it."""
    clock.turn(IDLE_SECONDS)
    assert cameron.get("/account").status_code == 302, "to the sign-in"
    assert provider.session().ended_at is None
    provider.state.background.poll()
    assert provider.session().end_reason == "idle"


# --- a client is removed ---


def test_removed_client_is_notified_and_the_session_continues(provider: Provider, cameron: SiteClient) -> None:
    """Its participation ends, the session does not."""
    gone, stays = provider.tokens(cameron, DISPATCH), provider.tokens(cameron, MANAGER)
    with Session(engine_of(provider.app)) as rows:
        to_send = end_participations(rows, rows.get_one(Client, DISPATCH), Reason.CLIENT_REMOVED, "session")
    provider.state.outbox.send(to_send)
    (told,) = eventually(lambda: provider.logout_tokens(DISPATCH))
    assert told["reason_user"]["en"] == "This app was removed from the identity provider (IdP)."
    assert provider.logout_tokens(MANAGER) == []
    assert provider.session().ended_at is None
    assert not provider.works(gone["access_token"])
    assert provider.works(stays["access_token"])


@pytest.mark.parametrize("response_type", ["id_token token", "code token", "code id_token token"])
def test_client_removed_during_its_request_gets_no_valid_token(
    response_type: str, provider: Provider, shop: Party, cameron: SiteClient, after_session_check: TakeAct
) -> None:
    """Its request was checked just before. Any token it still gets is revoked, and its participation ends."""
    token = shop.answer(cameron, response_type=response_type, nonce="n")["access_token"]
    assert provider.works(token), "control"

    after_session_check(lambda: remove(provider, shop.id))
    answer = shop.answer(cameron, response_type=response_type, nonce="n")
    for dead in (token, answer["access_token"]):
        assert not provider.works(dead)
        assert not provider.post("/oauth2/introspect", MANAGER, token=dead).get_json()["active"]
    provider.state.background.run_maintenance()
    assert shop.id not in {row.client_id for row in provider.rows(Participation)}
    assert shop.id in {row.client_id for row in provider.rows(Client)}, "its id is not free while its tokens live"


# --- races ---


def change_cameron(provider: Provider, act: str) -> None:
    """As an operator does, in another process."""
    with Session(engine_of(provider.app)) as rows, rows.begin():
        them = rows.get_one(User, CAMERON)
        if act == "disable":
            them.disabled_at = 1
        else:
            them.password_hash = "another"


@pytest.mark.parametrize("act", ["disable", "reset"])
def test_concurrent_sign_in_with_the_old_password_fails(
    act: str, provider: Provider, during_password_check: TakeAct
) -> None:
    """An operator acts between the password check and the creation of the session: no session remains."""
    during_password_check(lambda: change_cameron(provider, act))
    browser = provider.browser()
    assert provider.enter_password(browser, provider.authorize(browser)).status_code == 401
    assert provider.rows(SsoSession) == []


@pytest.mark.parametrize("act", ["disable", "password"])
def test_password_changed_during_the_sign_in_creates_no_session(act: str, provider: Provider, clock: Clock) -> None:
    """Ending another user's session commits, so the verified state must be checked again afterwards."""
    browser = provider.sign_in(username="alex")
    provider.tokens(browser)

    def told_of_the_end(_: Request) -> Response:
        change_cameron(provider, act)
        return Response("")

    provider.network.replace(f"{provider.url(DISPATCH)}/bclogout", told_of_the_end)
    clock.turn(600)
    page = provider.authorize(browser, prompt="login")
    assert provider.enter_password(browser, page, "cameron").status_code == 401
    assert [session.end_reason for session in provider.rows(SsoSession)] == ["replaced"], "no session of cameron's"
