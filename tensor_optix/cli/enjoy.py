"""``tensor-optix enjoy RUN``: watch the best policy, in a window or as a GIF."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.options import AllowImport, AsJson, RunPath, Seed, Traceback
from tensor_optix.cli.runs import run_at
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import write_line
from tensor_optix.core.rng import fresh_seed

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def enjoy(
    run: RunPath,
    episodes: Annotated[int, typer.Option(min=1, help="Complete env episodes.")] = 3,
    gif: Annotated[
        Path | None, typer.Option(metavar="FILE.gif", help="Write a GIF of the first episode; no window.")
    ] = None,
    seed: Seed = None,
    as_json: AsJson = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Watch the best policy of RUN. Without a screen it becomes RUN/media/best.gif.

    Example: tensor-optix enjoy runs/CartPole-v1 --gif best.gif

    Exit codes: 0 done; 2 the call cannot work; 4 the environment or the agent failed; 130 Ctrl-C.
    """
    with told_in_a_sentence(with_traceback=traceback):
        from tensor_optix import quick
        from tensor_optix.quick.watching import gif_of, watch

        root = fresh_seed() if seed is None else seed
        has_screen = sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in SCREENS)
        with redirect_stdout(sys.stderr):
            loaded = quick.load(run_at(run, allow_import=allow_import), allow_import=allow_import)
            loaded.pipeline.teardown()
            if gif is None and has_screen:
                written, returns = None, watch(loaded, episodes=episodes, seed=root, render_mode="human").returns
            else:
                written, returns = gif_of(loaded, gif or loaded.run_dir / "media" / "best.gif", episodes, root)
        if as_json:
            row = {"type": "enjoy", "seed": root, "returns": returns, "gif": str(written) if written else None}
            write_line(sys.stdout, json_line(row))
            return
        write_line(sys.stdout, f"returns  {', '.join(f'{value:.1f}' for value in returns)}   (--seed {root})")
        if written is not None:
            write_line(sys.stdout, f"gif      {shown(written)}")
