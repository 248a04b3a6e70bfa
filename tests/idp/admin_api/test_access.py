"""Access control, and the errors of rejected requests: RFC 6750."""

import pytest

from idp.models import SsoSession, Token, hash_of
from idp.operations import applications
from idp.tokens.client_credentials import ADMIN_SCOPES
from pickup_web.database import db as request_db
from tests.conftest import PASSWORD, Clock, SiteClient
from tests.idp.admin_api.conftest import ACCOUNT, PREFIX, SESSIONS, Program, add_program, problem
from tests.idp.conftest import Provider, hidden

NEEDED = [
    ("GET", "/identityStores/people/accounts", "account:read"),
    ("GET", ACCOUNT, "account:read"),
    ("GET", SESSIONS, "account:read"),
    ("GET", f"{SESSIONS}/x", "account:read"),
    ("DELETE", f"{SESSIONS}/x", "account:write"),
    ("DELETE", SESSIONS, "account:write"),
    ("GET", "/clients", "client:read"),
    ("GET", "/clients/x", "client:read"),
    ("GET", "/deliveries", "delivery:read"),
    ("GET", "/deliveries/x", "delivery:read"),
    ("POST", "/deliveries/x/redeliver", "delivery:write"),
]
each_operation = pytest.mark.parametrize(("method", "path", "scope"), NEEDED)


@each_operation
def test_request_without_a_token_is_rejected(method: str, path: str, scope: str, provider: Provider) -> None:
    """RFC 6750 §3.1: 401 and the scheme, without an error code, because the request had no token."""
    answer = Program(provider).call(method, path)
    assert problem(answer, 401, "unauthorized")["entityName"] == scope.partition(":")[0]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Pickup admin API"'


@each_operation
def test_request_without_the_scope_is_rejected(method: str, path: str, scope: str, program: Program) -> None:
    """RFC 6750 §3.1: 403 with the missing scope; the other scopes do not suffice."""
    program.take_token(scope=" ".join(set(ADMIN_SCOPES) - {scope}))
    answer = program.call(method, path)
    assert problem(answer, 403, "insufficientScope")["entityName"] == scope.partition(":")[0]
    assert answer.headers["WWW-Authenticate"].endswith(f'error="insufficient_scope", scope="{scope}"')
    assert program.provider.session().ended_at is None
    (event,) = program.provider.events("op.admin_api.refused")
    assert (event.client_id, event.outcome) == ("scripts", scope)


@each_operation
def test_control_request_with_only_the_scope_succeeds(method: str, path: str, scope: str, program: Program) -> None:
    """Each operation requires exactly one scope."""
    program.take_token(scope=scope)
    assert program.call(method, path).status_code in (200, 204, 404)


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer nonsense", "Bearer \udcff", "Basic c2NyaXB0czp4", "nonsense", "bearer x, Bearer y"],
)
def test_malformed_token_is_rejected(header: str, provider: Provider) -> None:
    """RFC 6750 §3.1; the response does not repeat it."""
    answer = Program(provider).get("/clients", headers={"Authorization": header.encode(errors="surrogateescape")})
    assert answer.status_code == 401
    assert "nonsense" not in answer.text


def test_expired_token_is_rejected(program: Program, clock: Clock) -> None:
    """RFC 6750 §3.1: invalid_token, so that the client requests a new one."""
    clock.turn(599)
    assert program.get("/clients").status_code == 200
    clock.turn(1)
    answer = program.get("/clients")
    problem(answer, 401, "invalidToken")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_revoked_scope_or_client_applies_immediately(program: Program) -> None:
    """A scope, or the whole client: existing tokens lose it before they expire."""
    program.provider.change_client("scripts", scopes=["account:read"])
    problem(program.get("/clients"), 403, "insufficientScope")
    assert program.get(ACCOUNT).status_code == 200
    program.provider.change_client("scripts", removed_at=1)
    problem(program.get(ACCOUNT), 401, "invalidToken")


def test_token_is_accepted_only_in_the_header(program: Program, provider: Provider) -> None:
    """RFC 6750 §5.3: in a URL it would end up in logs and histories."""
    stranger = Program(provider)
    problem(stranger.get(f"/clients?access_token={program.token}"), 401, "unauthorized")
    problem(stranger.delete(SESSIONS, data={"access_token": program.token}), 401, "unauthorized")


def test_users_token_gives_no_access(provider: Provider, cameron: SiteClient) -> None:
    """Of any user, with any scopes."""
    token = provider.tokens(cameron)["access_token"]
    with provider.database() as db:
        db.get_one(Token, hash_of(token)).scope = "openid " + " ".join(ADMIN_SCOPES)
    provider.change_client("pickup-dispatch", scopes=list(ADMIN_SCOPES))
    problem(Program(provider, token=token).get("/clients"), 403, "insufficientScope")


def test_operators_cookie_gives_no_access(provider: Provider) -> None:
    """Cookies are ignored, so another site cannot make a browser send requests; the console is the control."""
    browser = provider.browser()
    page = browser.get("/login?next=/console")
    browser.submit("/login", next=hidden(page, "next"), username="admin", password=PASSWORD)
    assert browser.get("/console").status_code == 200
    sub = provider.rows(SsoSession)[0].sub
    path = f"{PREFIX}/identityStores/people/accounts/{sub}/sessions"
    assert browser.get(path).status_code == 401
    assert browser.delete(path).status_code == 401, "a CSRF token is not required either"


def test_cross_origin_scripts_get_no_access(program: Program) -> None:
    """No CORS: a program in a browser could not keep its secret."""
    for method in ("GET", "OPTIONS"):
        answer = program.call(method, "/clients", headers={"Origin": "https://evil.example"})
        assert not [name for name in dict(answer.headers) if name.startswith("Access-Control-")]


def test_read_scope_does_not_allow_ending_a_session(provider: Provider, cameron: SiteClient) -> None:
    """Read permission does not end a session."""
    del cameron
    reader = add_program(provider, client_id="reader", scopes=["account:read"])
    reader.take_token()
    (session,) = reader.get(SESSIONS).get_json()
    problem(reader.delete(f"{SESSIONS}/{session['id']}"), 403, "insufficientScope")
    assert reader.get(f"{SESSIONS}/{session['id']}").status_code == 200


def test_tokens_are_invalid_after_the_grant_is_removed(program: Program) -> None:
    """The operator takes client_credentials away."""
    program.provider.change_client("scripts", grant_types=["authorization_code"])
    problem(program.get("/clients"), 403, "insufficientScope")


def test_new_secret_revokes_the_clients_own_tokens(program: Program) -> None:
    """An attacker who had the old secret also had its tokens. Users' tokens are not affected."""
    with program.provider.app.app_context():
        applications.renew_secret(request_db.session, "scripts", "admin")
    problem(program.get("/clients"), 401, "invalidToken")
