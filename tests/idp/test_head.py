"""HEAD at the IdP: see tests/web/test_head.py."""

import pytest

from idp.models import Delivery, SsoSession
from tests.conftest import SiteClient
from tests.idp.conftest import DISPATCH, Provider
from tests.idp.console.conftest import operator
from tests.idp.operations.test_people import CAMERON
from tests.web.test_head import contents, head_everywhere


@pytest.mark.thorough
def test_head_changes_nothing_at_the_idp(provider: Provider, cameron: SiteClient) -> None:
    """An operator's browser, and a user's."""
    sid = provider.session().sid
    admin = operator(provider)
    own = next(row.sid for row in provider.rows(SsoSession) if row.sid != sid)
    other = provider.sign_in(username="alex")
    provider.tokens(other)
    provider.end_session(other, id_token_hint=provider.tokens(other)["id_token"])
    (delivery, *_) = provider.rows(Delivery)
    values = {
        "client_id": DISPATCH, "sub": CAMERON, "sid": sid, "delivery_id": delivery.id, "filename": "pickup.css",
        "identity_store_name": "people", "account_id": CAMERON, "session_id": sid,
    }  # fmt: skip
    assert head_everywhere(admin, values) > 40
    head_everywhere(admin, {**values, "sid": own})
    head_everywhere(cameron, values)
    before = contents(provider.app)
    for path in ("/console/keys/rotate", f"/console/people/{CAMERON}/role"):
        admin.get(path)
        admin.submit(path)
        assert contents(provider.app) != before, "control: the same with POST"
