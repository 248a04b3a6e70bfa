"""The session's access token, for calling an API. One request at a time renews it before it expires."""

import time
from typing import Any

from relying_party.clock import now
from relying_party.errors import InvalidToken, ProviderError, TokenUnavailable
from relying_party.login import verified_id_token
from relying_party.sessions import AppSession
from relying_party.state import current_session, current_state

EARLY_REFRESH = 20  # seconds before its expiry at which an access token is renewed
RENEWAL_PAUSE = 0.1  # seconds to wait while another request renews it


def access_token() -> str:
    """A valid access token of the current session.

    Raises :class:`TokenUnavailable` if no user is signed in or the provider does not renew the token.
    """
    session, sessions = current_session(), current_state().sessions
    while (login := session.login) is not None:
        if login["access_token_expires_at"] > now() + EARLY_REFRESH:
            return str(login["access_token"])
        if not login["refresh_token"]:
            raise TokenUnavailable("The access token has expired.")
        with sessions.renewal(session) as is_ours:
            sessions.reload_login(session)
            if is_ours and session.login == login:  # no other request has renewed it meanwhile
                return renew(session, login)
        if not is_ours:
            time.sleep(RENEWAL_PAUSE)  # another request of this session is renewing it, possibly in another worker
    raise TokenUnavailable("No user is signed in.")


def renew(session: AppSession, login: dict[str, Any]) -> str:
    """Get a new access token with the refresh token (RFC 6749 §6), and store it in the session."""
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
    """Core §12.2: ``iss`` and ``sub`` of a refreshed ID token MUST be the same as in the original one."""
    if (before["iss"], before["sub"]) != (after["iss"], after["sub"]):
        raise InvalidToken("The renewed ID token is about another user.")
    # Core §12.2: auth_time, if present, is the time of the original authentication; nonce, if present, is the same.
    for name in ("auth_time", "nonce"):
        if name in after and after[name] != before.get(name, after[name]):
            raise InvalidToken(f"The renewed ID token has another {name}.", after[name])
