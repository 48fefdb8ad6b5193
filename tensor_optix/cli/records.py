"""What does a run's directory say of the run, for lists and tables?"""

from __future__ import annotations

from typing import Any

from tensor_optix.storage import RunDirectory


def record_of(run: RunDirectory) -> dict[str, Any]:
    """One flat row of JSON values; None where the run does not say, or says something odd (it is a file)."""
    identity, summary = run.identity, run.summary
    details, final = _dict(identity.get("details")), _dict(summary.get("final"))
    return {
        "run_dir": str(run.path),
        "environment": _text(details.get("env_id") or identity.get("environment")) or "?",
        "algorithm": _text(details.get("algorithm")),
        "backend": _text(details.get("backend")),
        "seed": _number(identity.get("seed")),
        "ended": _text(summary.get("reason")) or "unfinished",
        "best": _number(summary.get("score")),
        "final": _number(final.get("mean")),
        "low": _number(final.get("low")),
        "high": _number(final.get("high")),
        "env_steps": _number(summary.get("env_steps")),
        "seconds": _number(summary.get("seconds")),
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
