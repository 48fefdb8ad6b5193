"""The cool-down as a table."""

import pytest

from tensor_optix.core.cooldown import Cooldown, Phase

BEGUN = Cooldown().begun(100, level=1.0, tolerance=0.1)


def test_it_takes_a_fifth_of_the_ticks_so_far_and_five_at_least():
    assert (BEGUN.phase, BEGUN.start, BEGUN.length) == (Phase.ANNEALING, 100, 20)
    assert Cooldown().begun(10, level=0.0, tolerance=0.0).length == 5


def test_the_learning_rate_falls_in_a_line_and_never_to_zero_or_below():
    assert [BEGUN.learning_rate_factor(tick) for tick in (100, 110)] == [1.0, 0.5]
    assert BEGUN.learning_rate_factor(119) == pytest.approx(0.05)
    assert Cooldown().learning_rate_factor(100) is None


def test_without_a_gain_it_settles_at_its_end_and_not_before():
    assert BEGUN.after(119, level=1.0, error=0.01) == BEGUN
    assert BEGUN.after(120, level=1.05, error=0.01).phase is Phase.SETTLED


def test_a_gain_must_be_beyond_the_tolerance_and_the_noise():
    assert BEGUN.after(120, level=1.2, error=0.1).phase is Phase.SETTLED
    assert BEGUN.after(120, level=1.2, error=0.01).phase is Phase.RESTORED


def test_a_gain_that_stays_with_the_full_learning_rate_revokes_it():
    restored = BEGUN.after(120, level=1.5, error=0.01)
    assert restored.learning_rate_factor(125) == 1.0
    assert restored.after(139, level=1.5, error=0.01) == restored
    assert restored.after(140, level=1.5, error=0.01) == Cooldown(revocations=1)


def test_a_gain_that_goes_with_the_cool_down_was_no_reason_to_go_on():
    restored = BEGUN.after(120, level=1.5, error=0.01)
    assert restored.after(140, level=1.05, error=0.01).phase is Phase.SETTLED


def test_twice_revoked_it_is_not_begun_again():
    assert Cooldown(revocations=2).begun(300, level=1.0, tolerance=0.1).phase is Phase.SETTLED
