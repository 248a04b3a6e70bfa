"""Why a session ends, and why an app is not notified, in words for users and operators."""

from enum import StrEnum

from idp.models import Client


class Reason(StrEnum):
    """Why a session ended."""

    LOGOUT = "logout"  # in an app, or at the IdP
    ELSEWHERE = "elsewhere"  # the user ended it from another of their sessions
    EVERYWHERE = "everywhere"  # the user logged out everywhere
    REPLACED = "replaced"  # another user signed in in the same browser
    IDLE = "idle"
    EXPIRED = "expired"
    OPERATOR = "operator"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 # a reason, not a password
    USER_DISABLED = "user_disabled"
    USER_REMOVED = "user_removed"
    CLIENT_REMOVED = "client_removed"  # ends only this app's part in the session


SENTENCES = {
    Reason.ELSEWHERE: "You ended this session from another browser.",
    Reason.EVERYWHERE: "You logged out everywhere.",
    Reason.REPLACED: "A different user signed in with this browser.",
    Reason.IDLE: "Your session expired because it was not used for a while.",
    Reason.EXPIRED: "Your session expired.",
    Reason.OPERATOR: "An operator ended your session.",
    Reason.PASSWORD_CHANGED: "Your password was changed.",
    Reason.USER_DISABLED: "Your account was disabled.",
    Reason.USER_REMOVED: "Your account was removed.",
    Reason.CLIENT_REMOVED: "This app was removed from the identity provider (IdP).",
}


def sentence_for(reason: Reason, initiator: Client | None) -> str:
    """The sentence that apps show their user. ``initiator``: the app in which the user logged out."""
    if reason is Reason.LOGOUT:
        return f"You logged out of {initiator.name}." if initiator else "You logged out at the identity provider (IdP)."
    return SENTENCES[reason]


def policy_of(client: Client, default_policy: str) -> str:
    """Delete tokens on logout: the client's own setting, else the IdP's."""
    return client.delete_tokens_on_logout or default_policy


def why_not_told(client: Client, default_policy: str, initiator: Client | None = None) -> str:
    """Why a participant is not notified, in a sentence; empty if it is. ``initiator``: where the user logged out."""
    if not client.backchannel_logout_uri:
        return "The client has no back-channel logout URI."
    if policy_of(client, default_policy) == "none":
        return "Its policy is to keep tokens and to send no logout request."
    if initiator and initiator.client_id == client.client_id and not initiator.notify_initiator:
        return "The user logged out in this app, and it is not notified of its own logouts."
    return ""
