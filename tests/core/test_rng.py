import json

import pytest

from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.errors import ConfigError


def test_streams_are_functions_of_seed_and_name():
    draws = {(seed, name): RandomStreams(seed).stream(name).random() for seed in (1, 2) for name in ("env", "agent")}
    assert len(set(draws.values())) == 4
    assert RandomStreams(1).stream("env").random() == draws[1, "env"]


def test_drawing_in_one_stream_never_changes_another():
    first, second = RandomStreams(1), RandomStreams(1)
    first.stream("env").random(100)
    assert first.stream("agent").random() == second.stream("agent").random()


def test_asking_again_gives_the_same_stream_at_its_position():
    streams = RandomStreams(1)
    assert streams.stream("env") is streams.stream("env")


def test_counter_seeds_depend_on_nothing_else():
    streams = RandomStreams(1)
    before = streams.counter_seed("environment", 0, 5)
    streams.stream("environment").random(10)
    assert streams.counter_seed("environment", 0, 5) == before
    seeds = {streams.counter_seed("environment", index, episode) for index in range(4) for episode in range(50)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_saved_and_loaded_streams_go_on_identically():
    streams = RandomStreams(1)
    streams.stream("env").random(7)
    loaded = RandomStreams(99)
    loaded.load_state_dict(json.loads(json.dumps(streams.state_dict())))
    assert loaded.stream("env").random() == streams.stream("env").random()
    assert loaded.stream("new").random() == streams.stream("new").random()


def test_fresh_seeds_differ():
    assert fresh_seed() != fresh_seed()


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None])
def test_a_stored_seed_that_none_can_have_is_refused(seed):
    streams = RandomStreams(1)
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        streams.load_state_dict({"seed": seed, "streams": {}})
    assert streams.seed == 1
