"""What is prepared once, only for speed. Each statement could as well be built where it is executed, and the cached
clients be read as rows.

SQLAlchemy takes longer to build a statement, or an object of a row, than SQLite takes to answer. A single sign-on (an
authorization and a token request, 5 to 7 ms) takes a fifth longer with statements built in place, and a seventh longer
without the cache of clients (medians of 40 and 60 pairs). A ``Statement`` is also executed without SQLAlchemy, which
saves another fifth (docs/figures.md).
"""

import functools
import json
from typing import Any

from sqlalchemy import JSON, Text, bindparam, cast, delete, exists, insert, select, update

from idp.models import (
    ActiveSession,
    AuthorizationCode,
    Client,
    FailedLogins,
    Participation,
    SsoSession,
    Token,
    User,
    has_word,
)
from pickup_web.database import table_of
from pickup_web.statements import Statement

_client, _code, _participation = table_of(Client), table_of(AuthorizationCode), table_of(Participation)
_session, _user = table_of(SsoSession), table_of(User)

# --- clients/registry.py ---

_is_json = [isinstance(column.type, JSON) for column in _client.columns]
CLIENT_ROW = Statement(
    select(
        *(cast(column, Text) if json_ else column for column, json_ in zip(_client.columns, _is_json, strict=True))
    ).where(_client.c.client_id == bindparam("client_id"), _client.c.removed_at.is_(None))
)


@functools.lru_cache(maxsize=1000)
def client_of(row: tuple[Any, ...]) -> Client:
    """The read-only object of a row of CLIENT_ROW. A changed row is another key, so no object is outdated."""
    values = (json.loads(value) if json_ and value else value for value, json_ in zip(row, _is_json, strict=True))
    return Client(**dict(zip(_client.columns.keys(), values, strict=True)))


# --- sign_in/sso_session.py, sign_in/participation.py ---

ALIVE_BY_COOKIE = Statement(
    select(*(_session.c[name] for name in ActiveSession._fields))
    .join(_user)
    .where(_session.c.cookie_hash == bindparam("cookie_hash"), _session.c.ended_at.is_(None))
    .where(_user.c.disabled_at.is_(None))
)
TOUCH_ALIVE = Statement(
    update(_session)
    .where(_session.c.sid == bindparam("wanted"), _session.c.ended_at.is_(None))
    .values(last_seen_at=bindparam("at"))
    .returning(_session.c.sid)
)
_new = [bindparam(column.key, type_=column.type) for column in _participation.columns]
_old = exists().where(_participation.c.sid == bindparam("sid"), _participation.c.client_id == bindparam("client_id"))
PARTICIPATE = Statement(insert(_participation).from_select(_participation.columns.keys(), select(*_new).where(~_old)))

# --- sign_in/throttle.py, sign_in/sso_session.py ---

_failed = table_of(FailedLogins)
_this_name, _is_old = _failed.c.key == bindparam("wanted"), _failed.c.failed_at <= bindparam("long_ago")
FAILED_LOGINS = Statement(select(_failed).where(_this_name))
FORGET_OLD_FAILURES = Statement(
    delete(_failed).where(
        _is_old, _this_name | _failed.c.key.in_(select(_failed.c.key).where(_is_old).limit(bindparam("most")))
    )
)
COUNT_FAILURE = Statement(
    update(_failed)
    .where(_this_name)
    .values(failures=_failed.c.failures + 1, failed_at=bindparam("at"))
    .returning(_failed.c.failures)
)
FORGET_FAILURES = Statement(delete(_failed).where(_this_name))
LOCK_VERIFIED_USER = (
    update(_user)
    .where(_user.c.sub == bindparam("wanted"), _user.c.password_hash == bindparam("verified"))
    .where(_user.c.disabled_at.is_(None))
    .values(password_hash=bindparam("verified"))
    .returning(_user.c.sub)
)

# --- tokens/code_grant.py, tokens/token_store.py, tokens/refresh_grant.py ---

CLAIM_CODE = Statement(
    update(_code)
    .where(
        _code.c.code_hash == bindparam("wanted"),
        _code.c.client_id == bindparam("by"),
        _code.c.used_at.is_(None),
        _code.c.expires_at > bindparam("at"),
    )
    .values(used_at=bindparam("at"))
    .returning(*_code.columns)
)
TOKEN_OF_CLIENT = (
    select(Token)
    .join(Client, Client.client_id == Token.client_id)
    .where(Token.access_hash == bindparam("access_hash"), Client.removed_at.is_(None))
)
_is_offline = has_word(Token.scope, "offline_access")
_by_refresh = Token.refresh_hash == bindparam("wanted")
LOCK_SESSION_OF = (
    update(_session)
    .where(_session.c.sid == select(Token.sid).where(_by_refresh, ~_is_offline).scalar_subquery())
    .where(_session.c.ended_at.is_(None))
    .values(last_seen_at=bindparam("at"))
    .returning(_session.c.sid)
)
LOCK_USER_OF = (
    update(_user)
    .where(_user.c.sub == select(Token.sub).where(_by_refresh, _is_offline).scalar_subquery())
    .where(_user.c.disabled_at.is_(None))
    .values(disabled_at=None)
    .returning(_user.c.sub)
)
CLAIM_REFRESH = (
    update(Token)
    .where(Token.refresh_hash == bindparam("wanted"), Token.rotated_at.is_(None), Token.revoked_at.is_(None))
    .values(rotated_at=bindparam("at"))
    .returning(Token)
)
