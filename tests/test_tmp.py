from tests.conftest import SiteClient, SignIn


def test_a(dispatch_client: SiteClient, sign_in: SignIn, manager_client: SiteClient, idp_client: SiteClient) -> None:
    assert dispatch_client.get("/bookings", headers={"Accept": "text/html"}).status_code == 303
    sign_in(dispatch_client)
    r = dispatch_client.get("/bookings")
    assert r.status_code == 200, r.text
    assert dispatch_client.get("/").status_code == 200
    r = dispatch_client.submit("/bookings", passenger="x", contact="+1 202 555 0143", driver="later")
    assert r.status_code == 303, r.text
    assert idp_client.get("/").status_code == 200
    assert idp_client.get("/oauth2/jwks").status_code == 200
