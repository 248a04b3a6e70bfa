"""Test your app's sign-in and logout against a real identity provider (docs/testing-your-app.md).

    def test_logout_ends_the_session(pickup_idp, pickup_browser):
        pickup_idp.add_person("zoe", claims={"email": "zoe@example.com"})
        pickup_idp.add_client("my-app", "my-secret", redirect_uris=[…], backchannel_logout_uri=…)
        pickup_browser.sign_in("http://localhost:5000/login", "zoe")
        (line,) = pickup_idp.end_session(pickup_browser.session)
        assert line.state == "delivered", line.why

The fixtures are in plugin.py. Without pytest: ``with start_idp() as idp: …``.
"""

from pickup_testing.browser import Browser, SignInError
from pickup_testing.idp import Delivery, Idp, IdpError, NotDeliveredError, Person, Session, start_idp
from pickup_testing.receiver import LogoutToken, Receiver

__all__ = [
    "Browser",
    "Delivery",
    "Idp",
    "IdpError",
    "LogoutToken",
    "NotDeliveredError",
    "Person",
    "Receiver",
    "Session",
    "SignInError",
    "start_idp",
]
