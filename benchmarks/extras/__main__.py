"""What does each extra cost, and does it work by itself? A fresh virtual environment for each, outside of the clone.

    python -m benchmarks.extras OUT [EXTRA ...]
    python -m benchmarks.extras OUT --table

Builds the wheel, and for every extra makes an environment, installs the wheel with that extra and constraints.txt
(from an empty cache: the time is that of downloading and unpacking), and runs a small real use of it (``uses.py``) in
an empty directory. Without any extra it also imports the package, times ``tensor-optix --help``, and shows what
``tensor-optix doctor`` says of what is missing. Writes OUT/<extra>.json, one at a time; --table prints the README's
table from these files.

Sizes are of the whole environment, Python's own files not counted. PyTorch is the build that pip's settings find:
for the CPU, where a folder of such wheels is configured.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import dev
from benchmarks.extras.uses import BESIDES

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "nothing": "agents of your own; exported policies",
    "torch": "PyTorch agents",
    "jax": "JAX agents (Flax, optax)",
    "tensorflow": "TensorFlow agents (also `tf`)",
    "report": "`report.html`, `progress.png`",
    "search": "searches by Optuna",
    "classic": "drawing CartPole, Pendulum and the like",
    "box2d": "LunarLander, BipedalWalker, CarRacing",
    "mujoco": "HalfCheetah, Ant and the like",
    "atari": "Atari games (the emulator is under the GPL-2.0)",
    "live": "WebSocket sources",
    "video": "films as GIFs",
    "onnx": "export to ONNX",
    "tensorboard": "TensorBoard logs",
    "wandb": "Weights & Biases logs",
    "mlflow": "MLflow logs",
    "docs": "this documentation as a site",
}
UV = [sys.executable, "-m", "uv"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
FRAMEWORKS = ("torch", "tensorflow", "jax", "matplotlib", "optuna")


def main() -> None:
    out, wanted = Path(sys.argv[1]).absolute(), sys.argv[2:]
    if wanted == ["--table"]:
        print(table(out))
        return
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        wheel = built(Path(directory))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB", flush=True)
        for extra in wanted or EXTRAS:
            found = {"extra": extra, **tried(extra, wheel, Path(directory) / extra)}
            (out / f"{extra}.json").write_text(json.dumps(found, indent=1))
            print(f"{extra:12} {found['seconds']:6.1f} s {found['megabytes']:6.0f} MB   {found['use']}", flush=True)


def table(out: Path) -> str:
    """The README's table, of what was measured so far."""
    lines = ["| extra | for | size | CPU seconds |", "|---|---|---|---|"]
    for extra, purpose in EXTRAS.items():
        path = out / f"{extra}.json"
        if path.exists():
            found = json.loads(path.read_text())
            name = "none" if extra == "nothing" else f"`{extra}`"
            lines.append(f"| {name} | {purpose} | {found['megabytes']:,.0f} MB | {found['cpu_seconds']:.0f} |")
    return "\n".join(lines)


def built(directory: Path) -> Path:
    """The wheel; it holds the package, its types and the licence, and nothing else."""
    subprocess.run([*UV, "build", "-q", "--wheel", "--out-dir", str(directory), str(ROOT)], check=True, env=environ())
    (wheel,) = directory.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    of_the_package = re.compile(r"tensor_optix/.+\.(py|pyi|typed)$|tensor_optix-[^/]+\.dist-info/")
    strange = [name for name in names if not of_the_package.match(name)]
    wanted = {"tensor_optix/py.typed", "tensor_optix/__init__.pyi", "tensor_optix/cli/__main__.py"}
    assert not strange, strange
    assert wanted <= set(names), wanted - set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    return wheel


def tried(extra: str, wheel: Path, directory: Path) -> dict[str, Any]:
    """Install it by itself, measure, use it, and delete it all again."""
    venv, empty = directory / "venv", directory / "empty"
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    empty.mkdir(parents=True)
    subprocess.run([*UV, "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    named = f"[{extra}]" if extra != "nothing" else ""
    cold = {**environ(), "UV_CACHE_DIR": str(directory / "cache")}
    started, used = time.perf_counter(), cpu_seconds_of_children()
    install(python, f"tensor-optix{named} @ {wheel.as_uri()}", cold)
    found: dict[str, Any] = {
        "seconds": round(time.perf_counter() - started, 1), "megabytes": round(megabytes(venv), 1),
        "cpu_seconds": round(cpu_seconds_of_children() - used, 1),
    }  # fmt: skip
    if extra in BESIDES:
        install(python, f"tensor-optix[{BESIDES[extra]}] @ {wheel.as_uri()}", cold)
    if extra == "nothing":
        found |= without_a_framework(python, empty)
    started = time.perf_counter()
    use = [str(python), str(Path(__file__).with_name("uses.py")), extra]
    done = subprocess.run(use, cwd=empty, env=used_in(), capture_output=True, text=True)
    found["use"] = done.stdout.strip() if done.returncode == 0 else f"FAILED: {done.stderr[-2000:]}"
    found["use_seconds"] = round(time.perf_counter() - started, 1)
    shutil.rmtree(directory)
    return found


def install(python: Path, what: str, env: dict[str, str]) -> None:
    call = [*UV, "pip", "install", "-q", "--python", str(python), "-c", str(ROOT / "constraints.txt"), what]
    subprocess.run(call, check=True, env=env)


def without_a_framework(python: Path, empty: Path) -> dict[str, Any]:
    """The import, the help's time, and what is said of all that is not there."""
    program = python.with_name("tensor-optix")
    imported = f"import sys, tensor_optix; print(sorted(set({FRAMEWORKS!r}) & set(sys.modules)))"
    loaded = subprocess.run([str(python), "-c", imported], cwd=empty, capture_output=True, text=True, check=True)
    times, used = [], cpu_seconds_of_children()
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([str(program), "--help"], cwd=empty, env=used_in(), capture_output=True, check=True)
        times.append(time.perf_counter() - started)
    used = (cpu_seconds_of_children() - used) / len(times)
    doctor = subprocess.run([str(program), "doctor"], cwd=empty, env=used_in(), capture_output=True, text=True)
    return {
        "frameworks_imported": loaded.stdout.strip(), "help_seconds_median": round(statistics.median(times), 2),
        "help_seconds_worst": round(max(times), 2), "help_cpu_seconds": round(used, 2),
        "doctor_exit_code": doctor.returncode, "doctor": doctor.stdout,
    }  # fmt: skip


def megabytes(directory: Path) -> float:
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_symlink()) / 1e6


def cpu_seconds_of_children() -> float:
    """Of all child processes that have ended: on a busy machine this says more than the clock."""
    times = os.times()
    return times.children_user + times.children_system


def environ() -> dict[str, str]:
    """Where this environment's own installer finds its wheels."""
    return {name: value for name, value in dev.install_environment().items() if name != "PYTHONPATH"}


def used_in() -> dict[str, str]:
    """No path to the clone, no GPU, one thread: what is installed is what is used."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    quiet = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "WANDB_SILENT": "true", "CI": "true"}
    return {**kept, **ONE_THREAD, **quiet}


if __name__ == "__main__":
    main()
