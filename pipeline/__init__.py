"""What the stages share: errors, tables, options, the map over many videos, the demo corpus."""
import os

# Idle OpenMP threads sleep instead of spinning. Where another process wants the core (a loader, a second worker), two
# spinning threads made one frame cost seconds instead of a fifth of one. Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# numpy's BLAS has only small products here, and its waiting threads spin even under a real-time scheduler, where the
# one that would do the work then never runs. Read when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
