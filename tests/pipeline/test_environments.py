import gymnasium as gym
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import SyncVectorEnv

from tensor_optix.errors import ConfigError, MissingDependency
from tensor_optix.pipeline import BatchPipeline, environments


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPol-v1", "no environment 'CartPol-v1'. Did you mean 'CartPole-v1'?"),
        ("CartPole-v7", "Did you mean 'CartPole-v1'?"),
        ("foo/CartPole-v1", "Did you mean 'CartPole-v1'?"),
        ("Taxi-v3", "'Taxi-v3' is gone. Use 'Taxi-v4' instead."),
        ("bad id!", "Malformed"),
        ("no_such_module:Foo-v0", "no_such_module"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
def test_an_unknown_id_is_refused_with_the_nearest_one(env_id, message):
    with pytest.raises(ConfigError) as refusal:
        BatchPipeline(env_id=env_id)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("env_id", "extra"), [("LunarLander-v3", "box2d"), ("HalfCheetah-v5", "mujoco"), ("CartPole-v1", "classic")]
)
def test_a_missing_library_comes_with_its_install_line(monkeypatch, env_id, extra):
    def make(env_id):
        raise DependencyNotInstalled("it is not there")

    monkeypatch.setattr(environments.gym, "make", make)
    with pytest.raises(MissingDependency) as missing:
        environments.make_env(env_id)
    assert f'pip install -e ".[{extra}]"' in str(missing.value)


def test_atari_without_its_emulator_comes_with_its_install_line(monkeypatch):
    monkeypatch.setitem(environments.importlib.sys.modules, "ale_py", None)
    with pytest.raises(MissingDependency, match=r'pip install -e "\.\[atari\]"'):
        BatchPipeline(env_id="ALE/Pong-v5")


def test_a_vector_environment_is_told_that_it_needs_another_pipeline():
    env = SyncVectorEnv([lambda: gym.make("CartPole-v1")])
    with pytest.raises(ConfigError, match="VectorBatchPipeline"):
        BatchPipeline(env)
    env.close()


def test_a_wrapper_that_cannot_be_rebuilt_is_not_cloned():
    class Unrecorded(gym.Wrapper):
        def __init__(self, env, k):
            super().__init__(env)

    assert environments.HandedOverEnv(Unrecorded(gym.make("CartPole-v1"), 3)).separate_env() is None
    clone = environments.HandedOverEnv(gym.wrappers.TransformReward(gym.make("CartPole-v1"), abs)).separate_env()
    assert isinstance(clone, gym.wrappers.TransformReward)
    clone.close()


def test_a_close_that_fails_is_told(caplog):
    env = gym.make("CartPole-v1")
    env.unwrapped.close = lambda: 1 / 0
    environments.BuiltEnvs(lambda: env).release(env)
    assert "CartPole-v1 failed to close: ZeroDivisionError" in caplog.text


def test_an_id_with_a_module_is_known_once_the_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "my_toys.py").write_text(
        "import gymnasium\nfrom tensor_optix.testing import OneStepBandit\n"
        "gymnasium.register('MyToy-v0', entry_point=OneStepBandit)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    environments.require_registered("my_toys:MyToy-v0")
    assert environments.make_env("my_toys:MyToy-v0").unwrapped.__class__.__name__ == "OneStepBandit"
