"""What every tuner must do, and not do, on agents whose best hyperparameters are known."""

from functools import cache

import numpy as np
import pytest

from tensor_optix.core.types import HyperparamSet, TuningEvidence
from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.backoff_optimizer import BackoffOptimizer
from tensor_optix.optimizers.momentum_optimizer import MomentumOptimizer
from tensor_optix.optimizers.no_tuning import NoTuning
from tensor_optix.optimizers.pbt_optimizer import PBTOptimizer
from tensor_optix.optimizers.spsa_optimizer import SPSAOptimizer
from tests.optimizers.toys import SPACE, LevelToy, SkillToy, distance, params_at, train, unit

FAIR = {
    "spsa": SPSAOptimizer,
    "spsa at once": lambda: SPSAOptimizer(blockwise=False),
    "backoff": BackoffOptimizer,
    "momentum": MomentumOptimizer,
    "pbt": PBTOptimizer,
}
EVERY = {**FAIR, "textbook": lambda: SPSAOptimizer(textbook=True)}
STARTS = [(0.2, 0.8), (0.85, 0.4)]
GOOD = (0.5, 0.5)

every_tuner = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
fair_tuner = pytest.mark.parametrize("make", FAIR.values(), ids=FAIR)


def rms_displacement(toy, make, n_seeds=20):
    finals = [train(toy(), make(), params_at(GOOD), seed=seed).final for seed in range(n_seeds)]
    return float(np.sqrt(np.mean([(unit(final) - GOOD) ** 2 for final in finals])))


@cache
def untuned_area(noise, seed):
    return np.mean(train(SkillToy(noise=noise), NoTuning(), params_at(GOOD), seed=seed).scores)


@every_tuner
def test_it_ends_nearer_a_known_optimum_in_19_of_20_seeds(make):
    nearer = 0
    for seed in range(40):
        start = params_at(STARTS[seed % 2])
        nearer += distance(train(LevelToy(noise=0.02), make(), start, seed=seed).final) < distance(start)
    assert nearer >= 38


@fair_tuner
@pytest.mark.parametrize("noise", [0.02, 0.06, 0.15])
def test_from_a_good_start_it_costs_at_most_3_percent_and_spoils_nothing(make, noise):
    losses, solved = [], []
    for seed in range(20):
        toy = SkillToy(noise=noise)
        tuned = train(toy, make(), params_at(GOOD), seed=seed)
        losses.append(1 - np.mean(tuned.scores) / untuned_area(noise, seed))
        solved.append(toy.skill >= 0.95)
    assert np.mean(losses) <= 0.03
    assert all(solved)


@fair_tuner
def test_pure_drift_moves_it_by_at_most_a_tenth_of_the_range(make):
    assert rms_displacement(lambda: SkillToy(noise=0.06, responds=False), make) <= 0.1


@fair_tuner
def test_pure_noise_moves_it_by_at_most_a_tenth_of_the_range(make):
    assert rms_displacement(lambda: SkillToy(noise=1.0, responds=False, skill=1.0), make) <= 0.1


@fair_tuner
def test_scale_and_shift_of_the_score_change_no_decision(make):
    for toy in (LevelToy, SkillToy):
        plain = train(toy(noise=0.05), make(), params_at(STARTS[0]), seed=3)
        scaled = train(toy(noise=0.05), make(), params_at(STARTS[0]), seed=3, scale=1000.0, shift=-7e3)
        assert scaled.made_by == plain.made_by


def score_at(tick):
    return float(np.sin(tick) + 0.01 * tick)


@every_tuner
def test_saved_and_loaded_it_goes_on_alike(make):
    def tuner():
        made = make()
        made.expect(SPACE)
        return made

    def steps(subject, ticks):
        rng.bit_generator.state = position
        subject.seed(rng)
        seen = []
        for tick in ticks:
            subject.observe(TuningEvidence(current.params, score_at(tick), score_at(tick - 1), 1, 1))
            current.params = dict(subject.suggest(HyperparamSet(dict(current.params)), []).params)
            seen.append(dict(current.params))
        return seen

    for interrupted_at in (3, 17, 40):
        rng = np.random.default_rng(0)
        position = rng.bit_generator.state
        current = HyperparamSet(params_at(GOOD))
        one = tuner()
        steps(one, range(interrupted_at))
        saved, position, here = one.state_dict(), rng.bit_generator.state, dict(current.params)
        expected = steps(one, range(interrupted_at, interrupted_at + 40))
        other, rng, current = tuner(), np.random.default_rng(9), HyperparamSet(here)
        other.load_state_dict(saved)
        assert steps(other, range(interrupted_at, interrupted_at + 40)) == expected


@every_tuner
def test_an_experiment_is_never_left_behind(make):
    tuner = make()
    tuner.expect(SPACE)
    tuner.seed(np.random.default_rng(0))
    start = params_at(GOOD)
    current, probed = dict(start), 0
    for _ in range(60):
        tuner.observe(TuningEvidence(current, 1.0, 1.0, 1, 1))  # constant scores: nothing is ever learned from them
        current = dict(tuner.suggest(HyperparamSet(dict(current)), []).params)
        probed += tuner.is_probing
        assert tuner.is_probing == (current != start)
        assert tuner.settled(HyperparamSet(current)).params == start
    assert probed


@every_tuner
def test_whoever_else_changes_a_hyperparameter_is_right(make):
    tuner = make()
    tuner.expect(SPACE)
    tuner.seed(np.random.default_rng(0))
    current = params_at(GOOD)
    for _ in range(15):
        tuner.observe(TuningEvidence(current, 1.0, 1.0, 1, 1))
        current = dict(tuner.suggest(HyperparamSet(dict(current)), []).params)
    by_hand = {"rate": 0.5, "width": 0.25}  # the rate outside the declared range: it is respected, not clamped
    tuner.observe(TuningEvidence(current, 1.0, 1.0, 1, 1))
    tuner.suggest(HyperparamSet(dict(by_hand)), [])
    assert tuner.settled(HyperparamSet(dict(by_hand))).params == by_hand


@every_tuner
def test_scores_from_before_a_break_prove_nothing(make):
    """A rollback or a cool-down between two ticks is no effect of what was tried: the jump moves nothing."""
    for n_ticks in range(3, 40):
        tuner = make()
        tuner.expect(SPACE)
        tuner.seed(np.random.default_rng(0))
        start = params_at(GOOD)
        current = dict(start)
        for score, previous in [(1.0, 1.0)] * n_ticks + [(100.0, 50.0)] + [(100.0, 100.0)] * 30:
            tuner.observe(TuningEvidence(current, score, previous, 1, 1))
            current = dict(tuner.suggest(HyperparamSet(dict(current)), []).params)
            assert tuner.settled(HyperparamSet(current)).params == start


@every_tuner
def test_a_name_that_the_agent_does_not_have_is_told_with_the_nearest_one(make):
    kind = type(make())
    tuner = kind(param_bounds={"widht": (0.0, 1.0)})
    with pytest.raises(ConfigError, match=r"'widht'.*Did you mean 'width'"):
        tuner.suggest(HyperparamSet(params_at(GOOD)), [])


@every_tuner
def test_numpys_numbers_are_tuned_as_pythons(make):
    tuner = type(make())(param_bounds={"n": (1, 9), "width": (0.0, 1.0)})
    current = {"n": np.int64(4), "width": np.float32(0.5)}
    for tick in range(1, 40):
        tuner.observe(TuningEvidence(current, score_at(tick), score_at(tick - 1), 1, 1))
        current = dict(tuner.suggest(HyperparamSet(dict(current)), []).params)
    assert {type(value) for value in tuner.state_dict()["anchor"].values()} == {int, float}


@every_tuner
def test_without_anything_to_tune_it_leaves_everything_alone(make):
    tuner = make()
    tuner.expect(None)
    current = HyperparamSet({"rate": 0.1})
    for _ in range(30):
        tuner.observe(TuningEvidence(current.params, 1.0, 1.0, 1, 1))
        assert tuner.suggest(current, []).params == {"rate": 0.1}
    assert not tuner.is_probing


@pytest.mark.parametrize(
    "make",
    [
        lambda: SPSAOptimizer(perturbation_scale=0.0),
        lambda: SPSAOptimizer(learning_rate=-1.0),
        lambda: BackoffOptimizer(perturbation_scale=0.9),
        lambda: MomentumOptimizer(beta1=1.0),
        lambda: MomentumOptimizer(alpha=0.0),
        lambda: PBTOptimizer(exploit_percentile=0.0),
        lambda: PBTOptimizer(history_size=1),
        lambda: PBTOptimizer(history_size=2.5),
        lambda: PBTOptimizer(log_scale_params="rate"),
        lambda: SPSAOptimizer(learning_rate=float("nan")),
        lambda: SPSAOptimizer(log_params="rate"),
        lambda: BackoffOptimizer(min_delta=-1.0),
        lambda: MomentumOptimizer(min_delta=float("nan")),
        *(lambda kind=kind, bounds=bounds: kind(param_bounds=bounds)
          for kind in (SPSAOptimizer, BackoffOptimizer, MomentumOptimizer, PBTOptimizer)
          for bounds in ({"x": (1.0, 0.0)}, {"x": 0.1}, {"x": (0.1,)}, {"x": ("a", "b")}, [("x", (0.0, 1.0))])),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ConfigError):
        make()
