"""A local store, read back with MLflow's own client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensor_optix import MLflowLogger
from tests.callbacks.logged_runs import tell

mlflow = pytest.importorskip("mlflow", reason="the MLflow logger is tested against mlflow itself, not installed")

pytest.importorskip("alembic", reason="mlflow's local store needs sqlalchemy and alembic, which are not installed")

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated")  # mlflow's own use of its libraries


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


def test_params_curves_and_the_result_are_in_the_store(uri: str, tmp_path: Path):
    logger = MLflowLogger("an experiment", tracking_uri=uri, clock=lambda: 5.0)
    tell(logger, tmp_path)
    assert logger.problem is None
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("an experiment")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "20261123-1")
    assert run.data.params == {"learning_rate": "0.001", "gamma": "0.99", "double": "True"}
    assert run.data.tags["environment"] == "Toy-v0"
    assert run.data.tags["reason"] == "converged"
    assert run.data.metrics["result/final_mean"] == 19.0
    curve = client.get_metric_history(run.info.run_id, "score/raw")
    assert [(point.step, point.value, point.timestamp) for point in curve] == [(100, 10.0, 5000), (300, 20.0, 5000)]


def test_a_second_run_goes_on_in_the_same_one_and_an_error_shows(uri: str, tmp_path: Path):
    logger = MLflowLogger(tracking_uri=uri)
    tell(logger, tmp_path)
    tell(logger, tmp_path, is_finished=False)
    assert logger.problem is None
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("tensor-optix").experiment_id])
    assert run.info.status == "FAILED"
    assert len(client.get_metric_history(run.info.run_id, "score/raw")) == 4


def test_a_server_that_is_not_there_is_told_and_costs_nothing(tmp_path: Path):
    told: list[str] = []
    tell(MLflowLogger(tracking_uri=f"nowhere://{tmp_path}", tell=told.append), tmp_path)
    assert len(told) == 1
    assert "MLflowLogger has stopped logging" in told[0]
