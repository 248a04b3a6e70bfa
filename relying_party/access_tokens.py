"""The access token of a session, for calling an API: renewed when it is about to expire, by one request at a time."""

import time
from typing import Any

from relying_party.clock import now
from relying_party.errors import InvalidToken, ProviderError, TokenUnavailable
from relying_party.login import verified_id_token
from relying_party.sessions import AppSession
from relying_party.state import current_session, current_state

EARLY_REFRESH = 20  # seconds before its end at which an access token is renewed
RENEWAL_PAUSE = 0.1  # seconds between looks whether another request has renewed it


def access_token() -> str:
    """An access token of the current session, renewed when it is about to expire.

    Raises :class:`TokenUnavailable` when nobody is signed in or the provider renews it no more.
    """
    session, sessions = current_session(), current_state().sessions
    while (login := session.login) is not None:
        if login["access_token_expires_at"] > now() + EARLY_REFRESH:
            return str(login["access_token"])
        if not login["refresh_token"]:
            raise TokenUnavailable("The access token has expired.")
        with sessions.renewal(session) as is_ours:
            sessions.reload_login(session)
            if is_ours and session.login == login:  # nobody was faster
                return renew(session, login)
        if not is_ours:
            time.sleep(RENEWAL_PAUSE)  # another request of this session, perhaps of another worker, is at it
    raise TokenUnavailable("Nobody is signed in.")


def renew(session: AppSession, login: dict[str, Any]) -> str:
    """A new access token, which the session keeps (RFC 6749 §6)."""
    try:
        tokens = current_state().provider.refresh(login["refresh_token"])
        if tokens.get("id_token"):
            check_same_user(login["claims"], verified_id_token(tokens, None))
    except (ProviderError, InvalidToken) as error:
        raise TokenUnavailable(
            "The identity provider (IdP) does not renew the access token.", error.evidence
        ) from error
    renewed = {name: tokens[name] for name in ("access_token", "refresh_token", "id_token") if tokens.get(name)}
    expires_at = now() + tokens["expires_in"]
    current_state().sessions.update_login(session, {**login, **renewed, "access_token_expires_at": expires_at})
    return str(renewed["access_token"])


def check_same_user(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Core §12.2: a refreshed ID token is about the same user, provider and sign-in."""
    if (before["iss"], before["sub"]) != (after["iss"], after["sub"]):
        raise InvalidToken("The renewed ID token is about somebody else.")
    for name in ("auth_time", "nonce"):  # they may be missing, but not different
        if name in after and after[name] != before.get(name, after[name]):
            raise InvalidToken(f"The renewed ID token has another {name}.", after[name])
