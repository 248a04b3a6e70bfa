"""A complete receiver: the template with what a learner writes in each of the ten steps."""

import re

from pickup_learn.receiver.__main__ import TEMPLATE

HELPERS = "# Write functions and variables of your own here.\n"
IMPORTS = "import os\n"

# By step: what is replaced, and with what. "Step N" is the end of that step's comment.
EDITS: dict[int, list[tuple[str, str]]] = {
    1: [
        ('methods=["GET", "POST"]', 'methods=["POST"]'),
        (
            "    response.status_code = 400\n",
            '    response.status_code = 400\n    response.headers["Cache-Control"] = "no-store"\n',
        ),
        (
            "Step 1",
            """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Refused("The request is not application/x-www-form-urlencoded.")
""",
        ),
    ],
    2: [
        (IMPORTS, "import os\nimport re\n"),
        (
            "Step 2",
            """
    request.max_content_length = 64 * 1024
    tokens = request.form.getlist("logout_token")
    if "logout_token" in request.args or len(tokens) != 1:
        raise Refused("There must be exactly one logout_token, in the body.")
    token = tokens[0]
    if not re.fullmatch(r"[\\w-]+(\\.[\\w-]+){2}", token, re.ASCII):
        raise Refused("The logout_token is not a signed JWT.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, UnicodeError, RecursionError):
        raise Refused("The logout_token has no header.") from None
""",
        ),
    ],
    3: [
        (IMPORTS, "import json\nimport os\n"),
        (
            HELPERS,
            '''KEYS: list[Any] = []
FETCHES: list[float] = []


def keys_for(kid):
    """The provider's keys that may have signed. Core §10.1.1: an unknown kid is a reason to fetch them again."""
    fitting = [key for key in KEYS if kid in (None, key.key_id)]
    if fitting:
        return fitting
    recent = [at for at in FETCHES if at > time.time() - 10]
    if len(recent) >= 10:
        return []
    FETCHES[:] = [*recent, time.time()]
    try:
        KEYS[:] = jwt.PyJWKSet.from_dict(get_json(metadata("jwks_uri"))).keys
    except (requests.RequestException, jwt.PyJWTError, TypeError, KeyError, AttributeError):
        raise Refused("The provider's keys cannot be fetched.") from None
    return [key for key in KEYS if kid in (None, key.key_id)]


def signed_payload(token, header):
    """What the token says, if the provider has signed it."""
    for key in keys_for(header.get("kid")):
        try:
            return jwt.PyJWS().decode(token, key, algorithms=[header.get("alg")])
        except jwt.PyJWTError:
            continue
    raise Refused("The signature is wrong.")


def read_claims(payload):
    """The payload as a dict."""
    try:
        claims = json.loads(payload.decode())
    except (ValueError, RecursionError):
        raise Refused("The payload is not JSON.") from None
    if not isinstance(claims, dict):
        raise Refused("The payload is not a JSON object.")
    return claims
''',
        ),
        ("Step 3", "    claims = read_claims(signed_payload(token, header))\n"),
    ],
    4: [
        ('algorithms=[header.get("alg")]', "algorithms=[ALGORITHM]"),
        (
            "Step 4",
            """
    if header.get("alg") != ALGORITHM or "crit" in header:
        raise Refused("The token is not signed with the registered algorithm.")
""",
        ),
    ],
    5: [
        (
            "Step 5",
            """
    if claims.get("iss") != ISSUER or claims.get("aud") not in (CLIENT_ID, [CLIENT_ID]):
        raise Refused("The token is not of this provider, or not for this app.")
""",
        ),
    ],
    6: [
        (IMPORTS, "import math\nimport os\n"),
        ("json.loads(payload.decode())", "json.loads(payload.decode(), parse_constant=no_constant)"),
        (
            "def read_claims",
            '''def no_constant(word):
    """RFC 8259 §6: NaN and Infinity are not permitted."""
    raise ValueError(word)


def read_claims''',
        ),
        (
            "Step 6",
            """
    for name in ("iat", "exp"):
        value = claims.get(name)
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 2**53:
            raise Refused(f"{name} is missing or not a time.")
    if not time.time() - 86_400 < claims["iat"] < time.time() + 60 or claims["exp"] < time.time() - 60:
        raise Refused("The token is too old, or from the future.")
""",
        ),
    ],
    7: [
        (
            "Step 7",
            """
    events = claims.get("events")
    event = events.get("http://schemas.openid.net/event/backchannel-logout") if isinstance(events, dict) else None
    if not isinstance(event, dict) or "nonce" in claims:
        raise Refused("This is not a logout token.")
    if str(header.get("typ", "JWT")).lower() not in ("logout+jwt", "jwt"):
        raise Refused("The typ is of another kind of token.")
""",
        ),
    ],
    8: [
        (
            "Step 8",
            """
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        raise Refused("jti is missing.")
    try:
        with transaction() as db:
            db.execute("INSERT INTO used_jti VALUES (?)", [jti])
    except sqlite3.IntegrityError:
        raise Refused("This token was used before.") from None
""",
        ),
    ],
    9: [
        (
            "Step 9",
            """
    names = {name: claims[name] for name in ("sub", "sid") if name in claims}
    if not names or not all(isinstance(value, str) and value for value in names.values()):
        raise Refused("Neither sub nor sid names a session.")
    with transaction() as db:
        where = " AND ".join(f"{name} = ?" for name in names)
        db.execute(f"DELETE FROM session WHERE {where}", list(names.values()))
""",
        ),
        ('    return "This receiver is not finished.", 501\n', '    return "", 200, {"Cache-Control": "no-store"}\n'),
    ],
    10: [
        # The jti is no longer stored in a transaction of its own.
        (
            """    try:
        with transaction() as db:
            db.execute("INSERT INTO used_jti VALUES (?)", [jti])
    except sqlite3.IntegrityError:
        raise Refused("This token was used before.") from None
""",
            "",
        ),
        (
            "    with transaction() as db:\n        where",
            """    with transaction() as db:
        try:
            db.execute("INSERT INTO used_jti VALUES (?)", [jti])
        except sqlite3.IntegrityError:
            raise Refused("This token was used before.") from None
        db.execute("INSERT OR IGNORE INTO ended_sid VALUES (?)", [names.get("sid", "")])
        where""",
        ),
        (
            "        # Step 10 has a part here",
            """        if db.execute("SELECT 1 FROM ended_sid WHERE sid = ?", [claims.get("sid")]).fetchone():
            return "This session has already ended. Please sign in again.", 403
        # Step 10 has a part here""",
        ),
    ],
}


def solved(until: int) -> str:
    """The learner's file after so many steps."""
    text = TEMPLATE.read_text("utf-8")
    for step in range(1, until + 1):
        for old, new in EDITS[step]:
            text = with_edit(text, old, new)
    return text


def with_edit(text: str, old: str, new: str) -> str:
    """``text`` with one replacement, or with lines after a step's comment."""
    if re.fullmatch(r"Step \d+", old):
        pattern = rf"(?<=\n)    # {old}:.*\n(?:    # .*\n)*"
        assert len(re.findall(pattern, text)) == 1, old
        return re.sub(pattern, lambda found: found[0] + new.lstrip("\n"), text)
    assert text.count(old) == 1, old
    return text.replace(old, new)
