"""The contract of a convergence rule, and which rule the settings choose."""

import numpy as np
import pytest

from tensor_optix.core.convergence import (
    ConvergenceRule,
    EndedEpisode,
    Judgement,
    ended_episodes,
    judgement_from,
    judgement_state,
)
from tensor_optix.core.convergence_choice import rule_for
from tensor_optix.core.evidence import EvidenceRule
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.patience import PatienceRule
from tensor_optix.core.types import EpisodeData, LoopState, Verdict
from tensor_optix.errors import ConfigError


def test_a_cut_episode_is_none_of_the_ended_ones():
    data = EpisodeData(
        np.zeros((4, 1)), np.zeros(4), [1.0] * 4, [False, False, False, True], [False, True, False, False],
        [{}] * 4, 0, episode_returns=[2.0], episode_lengths=[2], episode_ends=[3],
    )  # fmt: skip
    assert ended_episodes(data) == [EndedEpisode(2.0, truncated=False)]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, EvidenceRule),
        ({"convergence": "evidence"}, EvidenceRule),
        ({"convergence": "patience"}, PatienceRule),
        ({"dormant_threshold": 7}, PatienceRule),
        ({"plateau_threshold": 7}, PatienceRule),
        ({"dormant_threshold": 20, "plateau_threshold": 5, "noise_k": 3.0}, EvidenceRule),
    ],
)
def test_the_evidence_decides_unless_patience_is_asked_for_by_name_or_by_its_thresholds(settings, kind):
    config = LoopConfig(**settings)
    assert type(rule_for(config, is_patient=config.chooses_patience)) is kind


def test_a_rule_of_the_users_own_is_used():
    class Mine(ConvergenceRule):
        def judge(self, tick): ...
        def restart(self, *, is_new_agent): ...

    mine = Mine()
    assert rule_for(LoopConfig(convergence=mine, dormant_threshold=3), is_patient=True) is mine


@pytest.mark.parametrize("wrong", ["patiens", None, 3])
def test_an_unknown_rule_is_refused(wrong):
    with pytest.raises(ConfigError, match="must be 'evidence', 'patience' or a ConvergenceRule, got "):
        rule_for(LoopConfig(convergence=wrong), is_patient=False)


def test_a_judgement_survives_saving():
    judgement = Judgement(LoopState.COOLING, Verdict.FLAT, False, True, 8, "why", {"p_done": 0.9}, cooldown=0.5)
    assert judgement_from(judgement_state(judgement)) == judgement
    assert judgement_from(judgement_state(None)) is None
