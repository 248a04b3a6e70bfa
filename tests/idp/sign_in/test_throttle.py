"""Guessing passwords is slow, for everybody but the person themselves."""

import threading
from contextlib import suppress

import pytest
from werkzeug.test import TestResponse

from idp.models import FailedLogins
from idp.sign_in.throttle import COOKIE, FORGOTTEN_SECONDS, FREE, LONGEST_WAIT
from tests.conftest import PASSWORD, Clock, SiteClient
from tests.idp.conftest import Provider


def attempt(
    provider: Provider, password: str, username: str = "cameron", browser: SiteClient | None = None
) -> TestResponse:
    """One try; in a browser that nobody knows, unless it is given."""
    browser = browser or provider.browser()
    browser.get("/login?next=/account")
    return browser.submit("/login", next="/account", username=username, password=password)


def guess(provider: Provider, times: int = FREE, username: str = "cameron", browser: SiteClient | None = None) -> None:
    """Wrong passwords in a row."""
    for number in range(times):
        assert attempt(provider, f"guess {number}", username, browser).status_code == 401


@pytest.mark.parametrize("username", ["cameron", "nobody", " CAMERON "])
def test_after_many_wrong_passwords_the_next_one_has_to_wait(username: str, provider: Provider, clock: Clock) -> None:
    """Also the right one, or a guess would tell; and also for a name that nobody has, or it would tell that."""
    guess(provider, FREE + 1, username)
    refused = attempt(provider, PASSWORD, username)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "Too many wrong passwords for this name. Try again in 1 second." in refused.text
    clock.turn(1)
    assert attempt(provider, PASSWORD, username).status_code == (401 if username == "nobody" else 303)


def test_the_pauses_grow_up_to_a_bound(provider: Provider, clock: Clock) -> None:
    """Each is one try, whatever it was."""
    guess(provider, FREE + 1)
    pauses = []
    for _ in range(11):
        pauses.append(int(attempt(provider, "a guess").headers["Retry-After"]))
        clock.turn(pauses[-1])
        assert attempt(provider, "a guess").status_code == 401
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_WAIT, LONGEST_WAIT]


def test_the_right_password_resets_the_count(provider: Provider) -> None:
    """Who mistypes now and then is never made to wait."""
    browser = provider.browser()
    for _ in range(3):
        guess(provider, FREE - 1, browser=browser)
        assert attempt(provider, PASSWORD, browser=browser).status_code == 303
    assert provider.rows(FailedLogins) == []


def test_a_guessing_attacker_does_not_lock_the_user_out(provider: Provider) -> None:
    """In a browser they have used before; there they have guesses of their own."""
    browser = provider.sign_in()
    guess(provider, FREE + 1)
    assert attempt(provider, PASSWORD).status_code == 429, "control: a browser that nobody knows"
    assert attempt(provider, PASSWORD, browser=browser).status_code == 303
    guess(provider, FREE + 1, browser=browser)
    assert attempt(provider, PASSWORD, browser=browser).status_code == 429


def test_a_device_cookie_is_valid_for_one_user_only(provider: Provider) -> None:
    """Alex cannot guess Cameron's password faster by having an account."""
    browser = provider.sign_in(username="alex")
    guess(provider, FREE + 1)
    assert attempt(provider, PASSWORD, browser=browser).status_code == 429


@pytest.mark.parametrize("value", ["", ".", "x", "made-up.0000", "ü.ü", "x" * 3000])
def test_a_browser_cannot_make_itself_known(value: str, provider: Provider) -> None:
    """What it remembers is sealed."""
    guess(provider, FREE + 1)
    browser = provider.browser()
    browser.set_cookie("pickup_idp_known", value, domain="idp.localhost")
    assert attempt(provider, PASSWORD, browser=browser).status_code == 429


def test_other_names_are_not_concerned(provider: Provider) -> None:
    """One count a name."""
    guess(provider, FREE + 1)
    assert attempt(provider, PASSWORD, "alex").status_code == 303


def test_of_many_simultaneous_tries_one_is_checked(
    provider: Provider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both workers, all their threads, at the moment the pause is over."""
    guess(provider, FREE + 1)
    clock.turn(1)
    looked: list[str] = []
    monkeypatch.setattr("idp.flow.login.authenticate", lambda *_: looked.append("at a password"))
    together, answers = threading.Barrier(4), []

    def guesser() -> None:
        browser = provider.browser()
        browser.get("/login?next=/account")
        together.wait()
        answers.append(browser.submit("/login", next="/account", username="cameron", password="a guess").status_code)

    guessers = [threading.Thread(target=guesser) for _ in range(4)]
    for one in guessers:
        one.start()
    for one in guessers:
        one.join()
    assert sorted(answers) == [401, 429, 429, 429]
    assert len(looked) == 1


def test_old_failures_are_deleted_and_the_table_stays_small(provider: Provider, clock: Clock) -> None:
    """Names that somebody made up do not fill the disk; and none stands in the table."""
    guess(provider, FREE + 1)
    for number in range(5):
        guess(provider, 1, f"made-up-{number}")
    assert "made-up" not in str([vars(row) for row in provider.rows(FailedLogins)])
    clock.turn(FORGOTTEN_SECONDS)
    guess(provider, 2)
    (row,) = provider.rows(FailedLogins)
    assert row.failures == 2


def test_the_password_form_limits_guesses_of_the_old_password(cameron: SiteClient) -> None:
    """Whoever sits down at a browser that is signed in."""

    def change(old: str) -> TestResponse:
        cameron.get("/account/password")
        return cameron.submit("/account/password", old=old, new="a better one", again="a better one")

    for _ in range(FREE + 1):
        assert "That is not your password." in change("a guess").text
    assert "Too many wrong passwords" in change(PASSWORD).text


def test_many_at_once_are_no_more_than_one_by_one(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try is counted before its password is looked at, so nobody sends a hundred while the tenth is looked at."""
    guess(provider, FREE - 1)
    looked: list[str] = []
    together, answers = threading.Barrier(8), []

    def dawdle(*_: str) -> None:
        looked.append("at a password")
        with suppress(threading.BrokenBarrierError):
            together.wait(0.2)  # until all have come that can

    def guesser() -> None:
        browser = provider.browser()
        browser.get("/login?next=/account")
        answers.append(browser.submit("/login", next="/account", username="cameron", password="a guess").status_code)

    monkeypatch.setattr("idp.flow.login.authenticate", dawdle)
    guessers = [threading.Thread(target=guesser) for _ in range(8)]
    for one in guessers:
        one.start()
    for one in guessers:
        one.join()
    assert len(looked) <= 2, "the last free one, and perhaps the one after it, which begins a pause"
    assert sorted(answers) == [401] * len(looked) + [429] * (8 - len(looked))


def test_deleting_the_device_cookie_gives_no_more_guesses(provider: Provider) -> None:
    """At the form for a new one they are counted by the account, whatever the browser says of itself."""
    browser = provider.sign_in()
    browser.get("/account/password")

    def change(old: str) -> str:
        return browser.submit("/account/password", old=old, new="a better one", again="a better one").text

    for _ in range(FREE + 1):
        assert "That is not your password." in change("a guess")
    assert browser.get_cookie(COOKIE, "idp.localhost")
    browser.delete_cookie(COOKIE, domain="idp.localhost")
    assert "Too many wrong passwords" in change(PASSWORD)
