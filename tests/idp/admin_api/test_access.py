"""Who may come in, and what others are told: RFC 6750."""

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
def test_without_a_token_nothing_is_answered(method: str, path: str, scope: str, provider: Provider) -> None:
    """RFC 6750 §3.1: 401, the scheme, and no error word: nothing was wrong with what was sent."""
    answer = Program(provider).call(method, path)
    assert problem(answer, 401, "unauthorized")["entityName"] == scope.partition(":")[0]
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Pickup admin API"'


@each_operation
def test_without_the_scope_nothing_is_done(method: str, path: str, scope: str, program: Program) -> None:
    """RFC 6750 §3.1: 403, with the scope that is missing; all the others do not help."""
    program.take_token(scope=" ".join(set(ADMIN_SCOPES) - {scope}))
    answer = program.call(method, path)
    assert problem(answer, 403, "insufficientScope")["entityName"] == scope.partition(":")[0]
    assert answer.headers["WWW-Authenticate"].endswith(f'error="insufficient_scope", scope="{scope}"')
    assert program.provider.session().ended_at is None
    (event,) = program.provider.events("op.admin_api.refused")
    assert (event.client_id, event.outcome) == ("scripts", scope)


@each_operation
def test_control_with_the_scope_alone_it_is_answered(method: str, path: str, scope: str, program: Program) -> None:
    """So each operation needs its own scope, and no other."""
    program.take_token(scope=scope)
    assert program.call(method, path).status_code in (200, 204, 404)


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer nonsense", "Bearer \udcff", "Basic c2NyaXB0czp4", "nonsense", "bearer x, Bearer y"],
)
def test_what_is_no_token_is_refused(header: str, provider: Provider) -> None:
    """RFC 6750 §3.1; nothing of it comes back."""
    answer = Program(provider).get("/clients", headers={"Authorization": header.encode(errors="surrogateescape")})
    assert answer.status_code == 401
    assert "nonsense" not in answer.text


def test_a_token_that_expired_is_refused(program: Program, clock: Clock) -> None:
    """RFC 6750 §3.1: invalid_token, so that the client gets another one."""
    clock.turn(599)
    assert program.get("/clients").status_code == 200
    clock.turn(1)
    answer = program.get("/clients")
    problem(answer, 401, "invalidToken")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_what_the_operator_takes_away_is_gone_at_once(program: Program) -> None:
    """A scope, or the whole client: the tokens that are out there do not wait for their time."""
    program.provider.change_client("scripts", scopes=["account:read"])
    problem(program.get("/clients"), 403, "insufficientScope")
    assert program.get(ACCOUNT).status_code == 200
    program.provider.change_client("scripts", removed_at=1)
    problem(program.get(ACCOUNT), 401, "invalidToken")


def test_the_token_counts_in_the_header_only(program: Program, provider: Provider) -> None:
    """RFC 6750 §5.3: in an address it would end up in logs and histories."""
    stranger = Program(provider)
    problem(stranger.get(f"/clients?access_token={program.token}"), 401, "unauthorized")
    problem(stranger.delete(SESSIONS, data={"access_token": program.token}), 401, "unauthorized")


def test_a_persons_token_opens_nothing(provider: Provider, cameron: SiteClient) -> None:
    """Whoever is signed in, and whatever it says in the token."""
    token = provider.tokens(cameron)["access_token"]
    with provider.database() as db:
        db.get_one(Token, hash_of(token)).scope = "openid " + " ".join(ADMIN_SCOPES)
    provider.change_client("pickup-dispatch", scopes=list(ADMIN_SCOPES))
    problem(Program(provider, token=token).get("/clients"), 403, "insufficientScope")


def test_an_operators_cookie_opens_nothing(provider: Provider) -> None:
    """No cookie counts here, and so no other site can make a browser ask; the control is the console."""
    browser = provider.browser()
    page = browser.get("/login?next=/console")
    browser.submit("/login", next=hidden(page, "next"), username="admin", password=PASSWORD)
    assert browser.get("/console").status_code == 200
    sub = provider.rows(SsoSession)[0].sub
    path = f"{PREFIX}/identityStores/people/accounts/{sub}/sessions"
    assert browser.get(path).status_code == 401
    assert browser.delete(path).status_code == 401, "and it is not asked for a form's token, either"


def test_other_sites_scripts_are_not_let_in(program: Program) -> None:
    """No CORS: a program in a browser could not keep its secret."""
    for method in ("GET", "OPTIONS"):
        answer = program.call(method, "/clients", headers={"Origin": "https://evil.example"})
        assert not [name for name in dict(answer.headers) if name.startswith("Access-Control-")]


def test_a_program_needs_only_what_is_registered(provider: Provider, cameron: SiteClient) -> None:
    """Read permission does not end a session."""
    del cameron
    reader = add_program(provider, client_id="reader", scopes=["account:read"])
    reader.take_token()
    (session,) = reader.get(SESSIONS).get_json()
    problem(reader.delete(f"{SESSIONS}/{session['id']}"), 403, "insufficientScope")
    assert reader.get(f"{SESSIONS}/{session['id']}").status_code == 200


def test_without_its_grant_a_programs_tokens_open_nothing(program: Program) -> None:
    """The operator takes client_credentials away."""
    program.provider.change_client("scripts", grant_types=["authorization_code"])
    problem(program.get("/clients"), 403, "insufficientScope")


def test_a_new_secret_ends_the_tokens_that_the_old_one_brought(program: Program) -> None:
    """Whoever stole the old one had them, too. A person's tokens are not the program's own."""
    with program.provider.app.app_context():
        applications.renew_secret(request_db.session, "scripts", "admin")
    problem(program.get("/clients"), 401, "invalidToken")
