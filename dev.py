"""Set the project up and run it from a fresh clone, with nothing but Python >= 3.11.

    python dev.py demo      set up, then train CartPole-v1 until it has converged
    python dev.py test      set up, then lint, type-check and run the tests
    python dev.py lock      write constraints.txt anew (for maintainers)

Standard library only. TENSOR_OPTIX_VENV names another place for the virtual environment (default .venv).
"""

import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent
VENV = pathlib.Path(os.environ.get("TENSOR_OPTIX_VENV", ROOT / ".venv")).resolve()
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
UV = [str(PYTHON), "-m", "uv"]
EVERYTHING = "torch,tensorflow,jax,report,search,live,video,trackers,onnx,box2d,docs,test"
EXTRAS = {"demo": "torch,report,classic", "test": EVERYTHING, "lock": "test"}


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what an older Python gets to see)
        return fail(f"tensor-optix needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    command, *arguments = sys.argv[1:] or ["help"]
    if command not in EXTRAS:
        return fail(__doc__)
    set_up(EXTRAS[command])
    return {"demo": demo, "test": test, "lock": lock}[command](arguments)


def demo(arguments: list[str]) -> int:
    print("tensor-optix: training CartPole-v1 until the loop itself declares convergence", flush=True)
    return call([str(PYTHON), "-m", "tensor_optix.cli", "train", "CartPole-v1", *arguments])


def test(arguments: list[str]) -> int:
    if arguments:  # a selection, for work on one part
        return call([str(PYTHON), "-m", "pytest", *arguments])
    in_two_processes = ["-n", "2", "--dist", "loadfile"]  # files stay whole: their fixtures, and a framework, are dear
    checks = (["ruff", "check", "."], ["mypy"], ["pytest", *in_two_processes])
    return next((code for check in checks if (code := call([str(PYTHON), "-m", *check]))), 0)


def lock(arguments: list[str]) -> int:
    pin = 'torch==2.13.0\n'
    compile_ = [*UV, "pip", "compile", "-q", "--universal", "--python-version", "3.11", "--all-extras",
                "pyproject.toml", "-c", "-", "--no-header", "--no-annotate", "-o", "constraints.txt", *arguments]
    return subprocess.run(compile_, cwd=ROOT, input=pin, text=True).returncode


def set_up(extras: str) -> None:
    """Create the environment and install what ``extras`` need, unless a stamp says that this was done."""
    sources = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt", "tensor_optix/_about.py")]
    state = hashlib.sha256(b"\0".join([*sources, sys.version.encode()])).hexdigest()
    stamp = VENV / "tensor-optix-stamp"
    done = stamp.read_text().split("\n") if stamp.exists() else [""]
    if done[0] == state and set(extras.split(",")) <= set(done[1].split(",")):
        return
    wanted = ",".join(sorted({*extras.split(","), *(done[1].split(",") if done[0] == state else ())}))
    if not PYTHON.exists():
        print(f"setting up {VENV}", flush=True)
        subprocess.check_call([sys.executable, "-m", "venv", str(VENV)])
    subprocess.check_call([str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"])
    install = [*UV, "pip", "install", "-q", "--python", str(PYTHON), "-c", "constraints.txt", "-e", f".[{wanted}]"]
    subprocess.check_call(install, cwd=ROOT, env=install_environment())
    stamp.write_text(f"{state}\n{wanted}")


def install_environment() -> dict[str, str]:
    """A wheel folder that pip knows serves uv too; without one uv picks the torch build that suits this machine."""
    env = dict(os.environ)
    ask_pip = [str(PYTHON), "-m", "pip", "config", "get", "global.find-links"]
    folders = env.get("PIP_FIND_LINKS") or subprocess.run(ask_pip, capture_output=True, text=True).stdout
    if folders.strip():
        env.setdefault("UV_FIND_LINKS", ",".join(folders.split()))
    else:
        env.setdefault("UV_TORCH_BACKEND", "auto")
    return env


def call(command: list[str]) -> int:
    """Compiled files are written: otherwise each of the many processes of the tests compiles all that it imports."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.call(command, cwd=ROOT, env=env)


def fail(message: str | None) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
