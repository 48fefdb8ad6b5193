"""``tensor-optix export RUN``: the best policy, to be used without this package."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.options import AllowImport, AsJson, RunPath, Traceback
from tensor_optix.cli.runs import run_at
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import write_line
from tensor_optix.errors import ConfigError


def export(
    run: RunPath,
    numpy: Annotated[
        Path | None, typer.Option("--numpy", metavar="FILE", help="One file for NumpyPolicy.load: NumPy is enough.")
    ] = None,
    safetensors: Annotated[
        Path | None, typer.Option("--safetensors", metavar="DIR", help="Arrays (safetensors), described (JSON).")
    ] = None,
    onnx: Annotated[Path | None, typer.Option("--onnx", metavar="FILE", help="For any ONNX runtime.")] = None,
    as_json: AsJson = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Write the best policy of RUN, normalisation included, for use without the framework it was trained in.

    Example: tensor-optix export runs/CartPole-v1 --numpy policy.npp

    What is written has been compared with the agent. Exit codes: 0 done; 2 the call cannot work.
    """
    with told_in_a_sentence(with_traceback=traceback):
        wanted = {"numpy": numpy, "safetensors": safetensors, "onnx": onnx}
        targets = {form: path for form, path in wanted.items() if path is not None}
        if not targets:
            raise ConfigError("say what to write: --numpy FILE, --safetensors DIR or --onnx FILE")
        from tensor_optix import quick
        from tensor_optix.export.exporting import export_policy

        with redirect_stdout(sys.stderr):
            loaded = quick.load(run_at(run, allow_import=allow_import), allow_import=allow_import)
            written = [export_policy(loaded, path.resolve(), format=form) for form, path in targets.items()]
            loaded.pipeline.teardown()
        for path in written:
            line = json_line({"type": "export", "path": str(path)}) if as_json else f"written  {shown(path)}"
            write_line(sys.stdout, line)
