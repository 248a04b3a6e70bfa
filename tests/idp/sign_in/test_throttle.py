"""Password guessing is slowed down, but not for the user's own browser."""

import threading
from contextlib import suppress

import pytest
from werkzeug.test import TestResponse

from idp.models import FailedLogins
from idp.sign_in.throttle import COOKIE, FORGOTTEN_SECONDS, FREE, LONGEST_WAIT
from tests.conftest import PASSWORD, Clock, SiteClient
from tests.idp.conftest import Provider, TakeAct


def attempt(
    provider: Provider, password: str, username: str = "cameron", browser: SiteClient | None = None
) -> TestResponse:
    """One attempt, in an unknown browser unless one is given."""
    browser = browser or provider.browser()
    browser.get("/login?next=/account")
    return browser.submit("/login", next="/account", username=username, password=password)


def guess(provider: Provider, times: int = FREE, username: str = "cameron", browser: SiteClient | None = None) -> None:
    """Several wrong passwords in a row."""
    for number in range(times):
        assert attempt(provider, f"guess {number}", username, browser).status_code == 401


@pytest.mark.parametrize("username", ["cameron", "nobody", " CAMERON "])
def test_many_wrong_passwords_cause_a_pause(username: str, provider: Provider, clock: Clock) -> None:
    """The right one too, so that it discloses nothing; unknown names too, for the same reason."""
    guess(provider, FREE + 1, username)
    refused = attempt(provider, PASSWORD, username)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "Too many wrong passwords for this name. Try again in 1 second." in refused.text
    clock.turn(1)
    assert attempt(provider, PASSWORD, username).status_code == (401 if username == "nobody" else 303)


def test_pauses_grow_up_to_a_limit(provider: Provider, clock: Clock) -> None:
    """Each attempt counts, whether right or wrong."""
    guess(provider, FREE + 1)
    pauses = []
    for _ in range(11):
        pauses.append(int(attempt(provider, "a guess").headers["Retry-After"]))
        clock.turn(pauses[-1])
        assert attempt(provider, "a guess").status_code == 401
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, LONGEST_WAIT, LONGEST_WAIT]


def test_right_password_resets_the_count(provider: Provider) -> None:
    """A user who mistypes occasionally never waits."""
    browser = provider.browser()
    for _ in range(3):
        guess(provider, FREE - 1, browser=browser)
        assert attempt(provider, PASSWORD, browser=browser).status_code == 303
    assert provider.rows(FailedLogins) == []


def test_guessing_attacker_does_not_lock_the_user_out(provider: Provider) -> None:
    """In a browser they have used before, which has its own count."""
    browser = provider.sign_in()
    guess(provider, FREE + 1)
    assert attempt(provider, PASSWORD).status_code == 429, "control: an unknown browser"
    assert attempt(provider, PASSWORD, browser=browser).status_code == 303
    guess(provider, FREE + 1, browser=browser)
    assert attempt(provider, PASSWORD, browser=browser).status_code == 429


def test_device_cookie_is_valid_for_one_user_only(provider: Provider) -> None:
    """Alex cannot guess Cameron's password faster by having an account."""
    browser = provider.sign_in(username="alex")
    guess(provider, FREE + 1)
    assert attempt(provider, PASSWORD, browser=browser).status_code == 429


@pytest.mark.parametrize("value", ["", ".", "x", "made-up.0000", "ü.ü", "x" * 3000])
def test_device_cookie_cannot_be_forged(value: str, provider: Provider) -> None:
    """The device cookie is signed."""
    guess(provider, FREE + 1)
    browser = provider.browser()
    browser.set_cookie("pickup_idp_known", value, domain="idp.localhost")
    assert attempt(provider, PASSWORD, browser=browser).status_code == 429


def test_pause_does_not_affect_other_names(provider: Provider) -> None:
    """Each name has its own count."""
    guess(provider, FREE + 1)
    assert attempt(provider, PASSWORD, "alex").status_code == 303


def test_one_of_many_simultaneous_attempts_is_checked(
    provider: Provider, clock: Clock, during_password_check: TakeAct
) -> None:
    """Both workers and all their threads, when the pause ends."""
    guess(provider, FREE + 1)
    clock.turn(1)
    looked: list[str] = []
    during_password_check(lambda: looked.append("at a password"))
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
    """Made-up names do not fill the disk, and no name is stored in clear."""
    guess(provider, FREE + 1)
    for number in range(5):
        guess(provider, 1, f"made-up-{number}")
    assert "made-up" not in str([vars(row) for row in provider.rows(FailedLogins)])
    clock.turn(FORGOTTEN_SECONDS)
    guess(provider, 2)
    (row,) = provider.rows(FailedLogins)
    assert row.failures == 2


def test_password_form_limits_guesses_of_the_old_password(cameron: SiteClient) -> None:
    """For an attacker at a signed-in browser."""

    def change(old: str) -> TestResponse:
        cameron.get("/account/password")
        return cameron.submit("/account/password", old=old, new="a better one", again="a better one")

    for _ in range(FREE + 1):
        assert "That is not your password." in change("a guess").text
    assert "Too many wrong passwords" in change(PASSWORD).text


def test_parallel_requests_give_no_extra_guesses(provider: Provider, during_password_check: TakeAct) -> None:
    """Each attempt is counted before its password is checked, so parallel requests give no extra guesses."""
    guess(provider, FREE - 1)
    looked: list[str] = []
    together, answers = threading.Barrier(8), []

    def dawdle() -> None:
        looked.append("at a password")
        with suppress(threading.BrokenBarrierError):
            together.wait(0.2)  # until all have come that can

    def guesser() -> None:
        browser = provider.browser()
        browser.get("/login?next=/account")
        answers.append(browser.submit("/login", next="/account", username="cameron", password="a guess").status_code)

    during_password_check(dawdle)
    guessers = [threading.Thread(target=guesser) for _ in range(8)]
    for one in guessers:
        one.start()
    for one in guessers:
        one.join()
    assert len(looked) <= 2, "the last free attempt, and perhaps the next one, which begins a pause"
    assert sorted(answers) == [401] * len(looked) + [429] * (8 - len(looked))


def test_deleting_the_device_cookie_gives_no_more_guesses(provider: Provider) -> None:
    """The form counts by account, whatever cookie the browser sends."""
    browser = provider.sign_in()
    browser.get("/account/password")

    def change(old: str) -> str:
        return browser.submit("/account/password", old=old, new="a better one", again="a better one").text

    for _ in range(FREE + 1):
        assert "That is not your password." in change("a guess")
    assert browser.get_cookie(COOKIE, "idp.localhost")
    browser.delete_cookie(COOKIE, domain="idp.localhost")
    assert "Too many wrong passwords" in change(PASSWORD)
