"""The database holds no usable token: a session's login is encrypted with Flask's SECRET_KEY."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, select, update
from sqlalchemy.orm import Session

from relying_party.encryption import Encryption
from relying_party.models import RegisteredClient, StoredSession
from tests.network import Network
from tests.relying_party.conftest import (
    BASE_URL,
    COOKIE,
    ISSUER,
    PaperProvider,
    Shop,
    each_database,
    json_response,
    make_shop,
    who,
)

pytestmark = each_database
REGISTER = f"{ISSUER}/register"
SECRET = "s3cret of the registered client"


@pytest.fixture
def tokens(shop: Shop) -> dict[str, str]:
    """The tokens of a signed-in user."""
    shop.sign_in()
    login = shop.rows()[0].login
    assert login
    return {name: str(login[name]) for name in ("id_token", "access_token", "refresh_token")}


def stored(shop: Shop) -> str:
    """The column as stored in the database."""
    with Session(shop.engine) as db:
        return str(db.scalars(select(StoredSession.login).where(StoredSession.sub.is_not(None))).one())


def test_database_contains_no_token_of_a_session(shop: Shop, tokens: dict[str, str]) -> None:
    """ID token, access token, refresh token; and no claim about the user either."""
    assert all(tokens.values())
    assert [name for name, token in tokens.items() if token in stored(shop)] == []
    assert "userinfo" not in stored(shop)
    assert str(shop.everything()).count(tokens["access_token"]) == 0


def test_renewed_token_is_encrypted(shop: Shop) -> None:
    """Later writes are encrypted as well."""
    browser = shop.sign_in()
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    session = shop.state.sessions.load(cookie.value)
    assert session.login
    shop.state.sessions.update_login(session, {**session.login, "access_token": "a renewed token"})
    assert "a renewed token" not in stored(shop)
    assert (shop.rows()[0].login or {})["access_token"] == "a renewed token"


def test_session_of_an_earlier_version_continues(shop: Shop) -> None:
    """Its row is not encrypted; it ends within hours anyway."""
    browser = shop.sign_in()
    clear = shop.rows()[0].login
    with Session(shop.engine) as db, db.begin():
        db.execute(update(StoredSession).values(login=clear))
    assert "access_token" in stored(shop)
    assert who(browser) == "a user"


def test_new_secret_key_requires_signing_in_again(shop: Shop, provider: PaperProvider, network: Network) -> None:
    """A login that cannot be decrypted counts as absent; it is not an error."""
    browser = shop.sign_in()
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    again = make_shop(shop.engine.url, SECRET_KEY="another key")
    again.provider = provider
    network.add(BASE_URL, again.app)
    visitor = again.browser()
    visitor.set_cookie(COOKIE, cookie.value, domain="shop.example")
    assert who(visitor) == "anonymous"
    assert visitor.get("/orders").status_code == 303
    again.sign_in(visitor, sid="another session")
    assert who(visitor) == "a user"
    again.engine.dispose()


def test_fallback_key_still_decrypts(shop: Shop) -> None:
    """Flask's key rotation: SECRET_KEY_FALLBACKS."""
    browser = shop.sign_in()
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    again = make_shop(shop.engine.url, SECRET_KEY="another key", SECRET_KEY_FALLBACKS=["k"])
    assert again.state.sessions.load(cookie.value).login
    again.engine.dispose()


# --- the secret of a client that registered itself ---


@pytest.fixture
def registered(database: Any, network: Network, provider: PaperProvider) -> Any:
    """A shop that registered itself; calling it with other settings restarts the same shop."""
    made = []
    provider.metadata = {"registration_endpoint": REGISTER}
    provider.registration = json_response({"client_id": provider.client_id, "client_secret": SECRET}, 201)

    def start(**config: Any) -> Shop:
        shop = make_shop(database, RELYING_PARTY_CLIENT_ID="", RELYING_PARTY_CLIENT_SECRET="", **config)
        shop.provider = provider
        network.add(BASE_URL, shop.app)
        made.append(shop)
        return shop

    yield start
    for shop in made:
        shop.engine.dispose()


def secret_in_the_row(shop: Shop) -> str:
    with Session(shop.engine) as db:
        return db.scalars(select(RegisteredClient.client_secret)).one()


def known_secret(shop: Shop) -> str | None:
    credentials = shop.state.registration.known()
    return credentials.client_secret if credentials else None


def test_secret_of_a_registered_client_is_encrypted(registered: Any) -> None:
    """Another process reads it with the same key."""
    shop = registered()
    shop.sign_in()
    assert SECRET not in secret_in_the_row(shop)
    assert known_secret(registered()) == SECRET


def test_client_of_an_earlier_version_is_kept(registered: Any) -> None:
    """Its secret is stored in clear, and is used as it is."""
    shop = registered()
    shop.sign_in()
    with Session(shop.engine) as db, db.begin():
        db.execute(update(RegisteredClient).values(client_secret=SECRET))
    assert known_secret(registered()) == SECRET


def test_client_with_undecryptable_secret_registers_again(registered: Any, network: Network) -> None:
    """It does not authenticate with an undecryptable value."""
    registered().sign_in()
    again = registered(SECRET_KEY="another key")
    assert known_secret(again) is None
    again.sign_in()
    assert known_secret(again) == SECRET
    assert len(network.to(REGISTER)) == 2


def test_client_just_registered_by_another_worker_is_kept(registered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registration happened between reading the old client and deleting it."""
    registered().sign_in()
    again = registered(SECRET_KEY="another key")
    new = Encryption.from_app(again.app).encrypt("the other worker's")

    def decrypt(_encryption: Encryption, _stored: str) -> None:
        with Session(again.engine) as db, db.begin():
            db.execute(update(RegisteredClient).values(client_secret=new))

    with monkeypatch.context() as patch:
        patch.setattr(Encryption, "decrypt", decrypt)
        assert known_secret(again) is None
    assert known_secret(again) == "the other worker's"


@pytest.mark.parametrize("key", [None, ""])
def test_extension_does_not_start_without_a_secret_key(key: str | None, database: Path | URL) -> None:
    """The message says which setting is missing, and its purpose."""
    with pytest.raises(ValueError, match=r"SECRET_KEY is not set.*encrypts"):
        make_shop(database, SECRET_KEY=key)
