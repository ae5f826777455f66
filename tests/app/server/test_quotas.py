"""What one user may have of a server, and that others have theirs meanwhile."""

import contextlib

import pytest
from livesam.app.server.problems import OverQuota, problem_of
from livesam.app.server.quotas import FORGET, Quota, Quotas


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_sessions_of_one_user_are_counted_and_given_back():
    quotas = Quotas(Quota(sessions=2))
    with quotas.session("anna"), quotas.session("ben"):
        with quotas.session("anna"), pytest.raises(OverQuota, match="you have 2 sessions, as many as one user may"):
            quotas.session("anna").__enter__()
        with quotas.session("anna"):
            pass


def test_clicks_a_second_with_a_burst():
    clock = Clock()
    quotas = Quotas(Quota(clicks_s=5), clock)

    def clicks():
        done = 0
        with contextlib.suppress(OverQuota):
            while True:
                with quotas.asking("anna", "box" if done % 2 else "click"):
                    done += 1
        return done

    assert clicks() == 10
    clock.now = 1.0
    assert clicks() == 5
    clock.now = 100.0
    assert clicks() == 10
    with pytest.raises(OverQuota, match="more than 5 times a second"):
        quotas.asking("anna", "click").__enter__()
    with quotas.asking("ben", "click"), quotas.asking("anna", "undo"):
        pass


def test_a_press_is_counted_and_its_click_is_not():
    quotas = Quotas(Quota(clicks_s=5), Clock())

    def ask(op, *place):
        with quotas.asking("anna", op, place):
            pass

    for at in range(10):
        ask("press", at, 5, True)
        ask("click", at, 5, True)
    with pytest.raises(OverQuota):
        ask("click", 9, 5, True)  # its press is used up
    with pytest.raises(OverQuota):
        ask("press", 1, 5, True)
    with pytest.raises(OverQuota):
        ask("click", 1, 5, True)  # the press was refused


@pytest.mark.parametrize(("op", "most"), [("candidates", 10), ("compare", 10), ("propose", 10), ("preview", 6)])
def test_what_is_only_looked_at_is_counted_and_a_hovering_mouse_leaves_some_for_clicks(op, most):
    quotas, done = Quotas(Quota(clicks_s=5), Clock()), 0
    with contextlib.suppress(OverQuota):
        while True:
            with quotas.asking("anna", op):
                done += 1
    assert done == most
    for _ in range(10 - most):
        with quotas.asking("anna", "click"):
            pass
    with pytest.raises(OverQuota), quotas.asking("anna", "click"):
        pass


def test_images_being_opened():
    quotas = Quotas(Quota(encoding=1))
    with quotas.asking("anna", "open"):
        with pytest.raises(OverQuota, match="1 images being opened"), quotas.asking("anna", "open"):
            pass
        with quotas.asking("ben", "open"), quotas.asking("anna", "click"):
            pass
    with pytest.raises(KeyError), quotas.asking("anna", "open"):
        raise KeyError  # what fails is given back, too
    with quotas.asking("anna", "open"):
        pass


def test_without_a_quota_nothing_is_refused_and_nothing_kept():
    quotas = Quotas(Quota())
    for _ in range(100):
        with quotas.session("anna"), quotas.asking("anna", "click"), quotas.asking("anna", "open"):
            pass
    assert (len(quotas._having), len(quotas._clicks)) == (0, 0)


def test_users_who_click_no_more_are_forgotten():
    clock = Clock()
    quotas = Quotas(Quota(clicks_s=5), clock)
    for number in range(FORGET + 1):
        clock.now += 1
        with quotas.asking(f"user {number}", "click"):
            pass
    assert len(quotas._clicks) < 10


def test_a_refusal_has_a_code_of_its_own():
    problem = problem_of(OverQuota("you have 2"))
    assert (problem.code, problem.status, problem.message) == ("over_quota", 429, "you have 2")
