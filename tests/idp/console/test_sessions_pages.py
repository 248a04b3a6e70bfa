"""Sessions: listed, and ended after a confirmation page that shows the consequences."""

from idp.models import Participation, SsoSession
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.console.conftest import HOSTILE, after, operator
from tests.reading import words


def sid_of(provider: Provider, sub: str = "248289761002") -> str:
    """Cameron's session."""
    return next(row.sid for row in provider.rows(SsoSession) if row.sub == sub)


def test_list_shows_user_browser_and_apps(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    del cameron
    clock.turn(600)
    text = words(operator(provider).get("/console/sessions"))
    when = "2027-01-15 08:00:00 UTC"
    assert f"Cameron Reyes , A browser A browser {when} {when} Pickup Dispatch, Pickup Manager 2" in text
    assert "Ada Minister , A browser this one" in text


def test_search_finds_sessions_and_ended_ones_on_request(provider: Provider, cameron: SiteClient) -> None:
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    admin = operator(provider)
    assert "Cameron" not in words(admin.get("/console/sessions"))
    found = words(admin.get("/console/sessions?search=reyes&all=yes"))
    assert "Cameron Reyes , A browser ended" in found
    assert "Logged out, 2027-01-15 08:00:00 UTC" in found
    assert "Ada" not in found.partition("Search")[2]
    assert "No such session" in words(admin.get("/console/sessions?search=nobody+at+all"))


def test_session_page_shows_the_tokens_of_each_app(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    text = words(operator(provider).get(f"/console/sessions/{sid_of(provider)}"))
    assert f"Session ID sid {sid_of(provider)}" in text
    assert "Pickup Dispatch 2027-01-15 08:00:00 UTC yes 1 access, 1 refresh, 0 offline session" in text
    manager = "Pickup Manager 2027-01-15 08:00:00 UTC no: The client has no back-channel logout URI."
    assert f"{manager} 1 access, 1 refresh, 0 offline session" in text


def test_confirmation_shows_revoked_tokens_and_notified_apps(provider: Provider, cameron: SiteClient) -> None:
    """A dry run: nothing has happened."""
    provider.change_client(MANAGER, delete_tokens_on_logout="none")
    kept, dying = provider.tokens(cameron, MANAGER), provider.tokens(cameron)
    admin, path = operator(provider), f"/console/sessions/{sid_of(provider)}/end"
    text = words(admin.get(path))
    assert "Notified immediately Pickup Dispatch" in text
    assert "Not notified Pickup Manager: Its policy is to keep tokens and to send no logout request." in text
    assert "Tokens revoked Pickup Dispatch: 4" in text
    assert "Tokens kept Pickup Manager: 4 (by its policy)" in text
    assert provider.works(dying["access_token"])
    assert provider.network.logout_tokens(f"{provider.url(DISPATCH)}/bclogout") == []
    page = after(admin, admin.submit(path))
    assert "Ended the session of Cameron Reyes. 1 app was notified; 1 app is not notified." in page
    assert "Ended by an operator" in page
    assert not provider.works(dying["access_token"])
    assert provider.works(kept["access_token"])
    (told,) = provider.logout_tokens(DISPATCH)
    assert told["reason_user"] == {"en": "An operator ended your session."}
    assert admin.submit(path).status_code == 404, "a second click finds nothing to end"
    assert [event.detail["by"] for event in provider.events("op.session.end_requested")] == ["admin"]


def test_unreachable_app_does_not_delay_the_operator(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    provider.network.refuse(provider.url(MANAGER))
    admin, path = operator(provider), f"/console/sessions/{sid_of(provider)}/end"
    admin.get(path)
    page = after(admin, admin.submit(path))
    assert "1 app was notified; 1 app did not answer yet and will be tried again." in page
    assert "Not confirmed yet. The IdP tries again." in page


def test_operator_is_warned_before_ending_their_own_session(provider: Provider, admin: SiteClient) -> None:
    path = f"/console/sessions/{sid_of(provider, '248289761001')}/end"
    assert "This is your own session" in words(admin.get(path))
    answer = admin.submit(path)
    assert answer.status_code == 303
    assert admin.get(answer.location).location.startswith("/login")


def test_user_agent_is_shown_as_text(provider: Provider, cameron: SiteClient) -> None:
    del cameron
    with provider.database() as db:
        db.get_one(SsoSession, sid_of(provider)).user_agent = HOSTILE
    page = operator(provider).get(f"/console/sessions/{sid_of(provider)}")
    assert "<script>alert" not in page.text
    assert HOSTILE in words(page)


def test_session_without_apps_says_so(provider: Provider, admin: SiteClient) -> None:
    assert provider.rows(Participation) == []
    assert "No app yet" in words(admin.get(f"/console/sessions/{sid_of(provider, '248289761001')}"))
