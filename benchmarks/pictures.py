"""The pictures of the README: a real run, its learning curve, and its best policy as a film.

    python -m benchmarks.pictures [ENV_ID]        some minutes; needs PyTorch, and the extras report, video and classic

Trains with seed 0 until the loop itself stops, and writes docs/pictures/progress.png and docs/pictures/best.gif.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import tensor_optix as tx
from tensor_optix.callbacks.video import gif

PICTURES = Path(__file__).parents[1] / "docs/pictures"
EVERY, FRAMES_PER_SECOND = 3, 20.0
"""Of the film: one frame of so many is kept."""


def main() -> None:
    env_id = sys.argv[1] if len(sys.argv) > 1 else "CartPole-v1"
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        run = tx.train(env_id, backend="torch", seed=0, out=directory)
        print(run.result.reason.value, run.result.explanation, run.result.env_steps, run.best_score, run.interval)
        shutil.copy(run.report().with_name("progress.png"), PICTURES / "progress.png")
        frames = tx.EpisodeFilm(env_id, max_frames=300)(run.agent)[::EVERY]
    (PICTURES / "best.gif").write_bytes(gif(frames, fps=FRAMES_PER_SECOND))
    for name in ("progress.png", "best.gif"):
        print(PICTURES / name, (PICTURES / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
