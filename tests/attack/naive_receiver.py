"""A receiver as people write it who have seen a logout token once: the token is read, not verified."""

import json
from base64 import urlsafe_b64decode

from flask import Response, request

from tests.attack.careful_receiver import CarefulReceiver


class NaiveReceiver(CarefulReceiver):
    """Decodes without verifying, knows only ``sid``, takes GET as well, answers 200 whatever happened."""

    METHODS = ("GET", "POST")

    def bclogout(self) -> Response:
        """Ends the session, if there is one of that name."""
        try:
            payload = request.values["logout_token"].split(".")[1]
            sid = json.loads(urlsafe_b64decode(payload + "==="))["sid"]
        except Exception:
            return Response("")
        self.sessions = {cookie: session for cookie, session in self.sessions.items() if session["sid"] != sid}
        return Response("")
