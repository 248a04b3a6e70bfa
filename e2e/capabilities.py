"""What a provider or an app can do beyond the minimum. A story names a capability where it needs it."""

from collections.abc import Collection
from typing import NoReturn

import pytest

NOT_APPLICABLE = "not applicable: "
LEFT_OUT = "left out"  # the property of a report that lists the parts of a story that were not told
REFUSED = "refused"  # the property of a failed story's report: why an app refused the provider's logout token

OF_PROVIDER = {
    "shared_sid": "all apps of a session get the same sid",
    "says_why": "its logout tokens have Pickup's claim that says why the session ended",
    "checks_passwords": "refuses a wrong password",
    "notifies_first_app": "also sends a logout token to the app in which the user logged out",
    "shows_events": "the events of docs/events.md at /events",
    "signs": "lends its private key to the test (signing_key)",
    "front_channel": "also has Front-Channel Logout, with iss and sid",
    "revokes_access_tokens": "a logout revokes the access tokens of the session",
    "ends_session_on_password_reset": "a new password ends the person's sessions, and the apps hear of it",
    "ends_session_on_disable": "disabling a person ends their sessions, and the apps hear of it",
    "ends_session_on_removal": "removing a person ends their sessions, and the apps hear of it",
    "expires_sessions": "tells the apps when a session expires; a test can make that happen",
    "account_page": "the account page of Pickup's IdP",
    "pickup_idp": "is Pickup's IdP: console, registration, admin API, Learn",
}
OF_OPERATOR = {  # e2e/operator.py has the methods
    "adds_people": "adds a person",
    "resets_passwords": "gives a person a new password",
    "signs_out_people": "ends all sessions of a person, and the apps hear of it",
    "disables_people": "disables a person, who then cannot sign in",
    "removes_people": "removes a person, who then cannot sign in",
    "ends_sessions": "ends one session, and the apps hear of it",
    "changes_clients": "changes members of a client's metadata",
}
OF_APP = {
    "shows_claims": "shows the claims of its ID token, on /profile as Pickup's apps do",
    "notices": "an open page notices the logout without a click",
    "shows_events": "the events of docs/events.md at /events",
    "refuses_replays": "refuses a logout token that it has seen before (BCL §2.6 lets it choose)",
    "checks_jti_and_typ": "refuses a logout token without jti (BCL §2.6 lists no such check) or with another typ",
    "explains_refusals": "says in error_description why it refused a logout token",
    "ends_by_front_channel": "also ends its session by Front-Channel Logout, at front_channel_path",
    "pickup_app": "is one of Pickup's two apps",
}


def not_applicable(capability: str) -> NoReturn:
    """Ends the story here, without a failure: the provider or the app cannot do this."""
    pytest.skip(NOT_APPLICABLE + capability)


def unknown(capabilities: Collection[str]) -> list[str]:
    """The names that no list above has: a typing error would skip a story for ever."""
    return sorted(set(capabilities) - OF_PROVIDER.keys() - OF_APP.keys() - OF_OPERATOR.keys())
