"""How many threads does a test use? One: the suite runs in as many processes as there are cores.

Networks are small here. Threads of several processes on the same cores wait for each other, much longer than they
compute.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
