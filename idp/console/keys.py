"""Keys: list the signing keys, rotate them."""

from flask import g, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import or_, select

from idp.console.parts import ask, done
from idp.models import SigningKey
from idp.provider import current_provider
from idp.tokens.signing_keys import BEFORE_SIGNING_SECONDS, RELOAD_SECONDS, rotate
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.words import duration, many


def show() -> str:
    """``GET /console/keys``: all published keys, newest first, and which of them sign now."""
    published = or_(SigningKey.published_until.is_(None), SigningKey.published_until > now())
    rows = db.session.scalars(select(SigningKey).where(published).order_by(SigningKey.signs_from.desc())).all()
    signing: dict[str, str] = {}
    for key in rows:
        if key.signs_from <= now():
            signing.setdefault(key.alg, key.kid)
    return render_template("console/keys.html", keys=rows, signing=set(signing.values()), now=now())


def rotate_now() -> ResponseReturnValue:
    """``GET /console/keys/rotate`` → asks; ``POST`` → publishes the next keys."""
    if request.method != "POST":
        text = (
            "Every worker publishes a new key of each kind within half a minute. It signs two minutes later, "
            "when every app has been able to fetch it. "
            "The current keys stay published for another day, so all sessions continue and no logout is lost."
        )
        return ask("Rotate the keys?", text, "Rotate", url_for("console.keys"), danger=False)
    new = rotate(db.session, current_provider().settings.signing_algorithms)
    for key in new:
        events.record(db.session, "op.key.published", outcome=key.alg, by=g.person.username)
    db.session.commit()
    published = many(len(new), "new key is", "new keys are")
    within, later = duration(RELOAD_SECONDS), duration(BEFORE_SIGNING_SECONDS)
    sentence = f"{published} published by every worker within {within}; they sign in {later}."
    return done(sentence, "console.keys")
