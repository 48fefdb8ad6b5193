"""Runs killed at random instants, as often as one likes; each must end with the same bits as one that nobody killed.

    python -m tests.long.kill --kills 2000                        agents without a framework: about 0.2 s a kill
    python -m tests.long.kill --kills 500 --agent "torch ppo"     about 1 s a kill

Run it from the root of the project. Ends with an AssertionError at the first commit that is lost, temporary
directory that stays, or bit that differs; the run's directory is kept then.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from tests.kill_runs import AGENTS
from tests.test_kill import Server, kill_often

BATCH = 100  # kills between two lines of progress; their runs are then deleted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--agent", choices=AGENTS, default="six methods")
    parser.add_argument("--seed", type=int, default=1, help="of the instants")
    options = parser.parse_args()
    born, totals = time.monotonic(), None
    server = Server(options.agent)
    while totals is None or totals["kills"] < options.kills:
        scratch = Path(tempfile.mkdtemp(prefix="kill-"))
        done = 0 if totals is None else totals["kills"]
        figures = kill_often(server, scratch, kills=min(BATCH, options.kills - done), seed=options.seed + done)
        totals = figures if totals is None else totals + figures
        shutil.rmtree(scratch)
        print(f"{time.monotonic() - born:6.0f} s  {dict(totals)}", flush=True)
    server.close()


if __name__ == "__main__":
    main()
