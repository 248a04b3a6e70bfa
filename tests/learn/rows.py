"""What the three services record of the four clicks, as ``GET /messages`` and ``GET /events`` give it."""

from collections import defaultdict
from typing import Any

from pickup_learn.join import Row, key_of

AT = 1_800_000_000_000  # ms: when the story begins
SID, SUB = "sid-cameron", "248289761002"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
URLS = {"idp": "http://idp.localhost:9000", "dispatch": "http://dispatch.localhost:8080/pickup-dispatch"}


class Story:
    """Rows and events by service. ``now`` is the time of the next one."""

    def __init__(self) -> None:
        self.now = AT
        self.rows: dict[str, list[Row]] = defaultdict(list)
        self.events: dict[str, list[Row]] = defaultdict(list)

    def add(self, service: str, kind: str, way: str, **known: Any) -> Row:
        """One row. The arrow of ``way`` is its channel: → front, ⇒ back, ↠ push."""
        sender, arrow, receiver = way.split()
        channel = {"→": "front", "⇒": "back", "↠": "push"}[arrow]
        row: Row = {
            "id": len(self.rows[service]) + 1,
            "service": service,
            "at": self.now,
            "duration_ms": 5.0,
            "direction": "out" if sender == service else "in",
            "channel": channel,
            "kind": kind,
            "from": sender,
            "to": receiver,
            "method": "POST" if channel == "back" else "GET",
            "url": f"{URLS.get(receiver, 'http://example')}/{kind}",
            "status": 200,
            "request": {"headers": {}, "parameters": known.pop("sent", {})},
            "response": {"headers": {}, "parameters": known.pop("got", {})},
            "tokens": [],
            "outcome": "ok",
            "error": None,
            "error_description": None,
            "trace": None,
            "state": None,
            "sid": None,
            "jti": None,
            "client_id": None,
            "sub": None,
            **known,
        }
        self.rows[service].append(row)
        self.now += 10
        return row

    def both(self, kind: str, way: str, trace: str, **known: Any) -> None:
        """A server-to-server message, recorded at both of its edges."""
        sender, _, receiver = way.split()
        for service in (sender, receiver):
            self.add(service, kind, way, trace=trace, **{name: _copy(value) for name, value in known.items()})

    def event(self, service: str, name: str, sid: str | None = SID, **known: Any) -> None:
        """One named event."""
        events = self.events[service]
        row = {"id": len(events) + 1, "at": self.now // 1000, "name": name, "sid": sid, "jti": None, "client_id": None}
        events.append({**row, "outcome": None, "detail": {}, **known})

    def sign_in(self, app: str, *, asked: bool) -> None:
        """The messages of one sign-in."""
        state, code, client = f"state-{app}", f"{app[:3]}xyz…", f"pickup-{app}"
        self.add(app, "start_sign_in", f"browser → {app}", state=state, client_id=client, status=302)
        if asked:
            self.add("idp", "authorization_request", "browser → idp", state=state, client_id=client)
            self.add("idp", "sign_in", "browser → idp", sid=SID, client_id=client, status=303, state=state)
            self.event("idp", "op.session.created")
        self.add(
            "idp",
            "authorization_request",
            "browser → idp",
            state=state,
            client_id=client,
            status=302,
            got={"code": code, "state": state},
        )
        self.both("discovery", f"{app} ⇒ idp", f"t{app}-1")
        claims = {"sub": SUB, "sid": SID, "preferred_username": "cameron", "nonce": "n", "aud": client}
        self.both(
            "token_request",
            f"{app} ⇒ idp",
            f"t{app}-2",
            client_id=client,
            sent={"code": code, "grant_type": "authorization_code"},
            tokens=[{"name": "id_token", "where": "response", "header": {"alg": "RS256"}, "claims": claims}],
            sid=SID,
            sub=SUB,
        )
        self.both("userinfo", f"{app} ⇒ idp", f"t{app}-3", client_id=client, sub=SUB)
        self.event(app, "rp.session.created", client_id=client)
        self.add(
            app,
            "authorization_response",
            f"browser → {app}",
            state=state,
            sent={"code": code, "state": state},
            sid=SID,
            trace=f"t{app}-0",
        )

    def log_out(self, app: str, *others: str) -> None:
        """The messages of one logout; ``others`` are told, too."""
        state = f"out-{app}"
        self.add(app, "log_out", f"browser → {app}", state=state, sid=SID, status=303)
        self.event(app, "rp.session.ended", outcome="You logged out.")
        self.add("idp", "logout_request", "browser → idp", state=state, sid=SID, client_id=f"pickup-{app}", status=302)
        self.event("idp", "op.session.ended", outcome="logout", client_id=f"pickup-{app}")
        for other in (*others, app):
            self.tell(other, f"jti-{other}", status=200)
            self.add(other, "push", f"{other} ↠ browser", sid=SID)
        self.add(app, "logged_out", f"browser → {app}", state=state)

    def tell(
        self, app: str, jti: str, status: int | None, attempt: int = 1, next_try_at: int | None = None, **other: Any
    ) -> None:
        """One attempt to deliver a logout token; without a status the app is down."""
        claims = {"iss": URLS["idp"], "sub": SUB, "sid": SID, "jti": jti, "events": {EVENT: {}}, "aud": f"pickup-{app}"}
        known = {
            "trace": f"tout{jti}-1",
            "sid": SID,
            "jti": jti,
            "sub": SUB,
            "client_id": f"pickup-{app}",
            "tokens": [{"name": "logout_token", "where": "request", "header": {"typ": "logout+jwt"}, "claims": claims}],
            **other,
        }
        client, way = f"pickup-{app}", f"idp ⇒ {app}"
        if status is None:
            self.add("idp", "backchannel_logout", way, status=None, outcome="no_answer", **known)
            self.event(
                "idp",
                "op.logout.retrying",
                jti=jti,
                client_id=client,
                outcome="no answer",
                detail={"attempt": attempt, "next_try_at": next_try_at},
            )
            return
        self.both("backchannel_logout", way, str(known.pop("trace")), status=status, **known)
        self.event(app, "rp.logout_token.accepted", jti=jti, outcome="1 ended")
        self.event(
            "idp",
            "op.logout.delivered",
            jti=jti,
            client_id=client,
            outcome="delivered",
            detail={"attempt": attempt, "status": status},
        )

    def all_rows(self) -> list[Row]:
        """Of all services, each service's in its order, as the collector reads them."""
        return [row for rows in self.rows.values() for row in rows]

    def keys(self) -> list[str]:
        """The messages, in the order of time."""
        return list(dict.fromkeys(key_of(row) for row in sorted(self.all_rows(), key=lambda row: int(row["at"]))))


def four_clicks() -> Story:
    """Sign in to Dispatch, open Manager, log out of Dispatch; Manager's tab notices."""
    story = Story()
    story.sign_in("dispatch", asked=True)
    story.sign_in("manager", asked=False)
    story.log_out("dispatch", "manager")
    return story


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(one) for name, one in value.items()}
    return list(value) if isinstance(value, list) else value
