"""What the service counts, and how: through Ray, which collects on every node and keeps the counts of a replica that has died.

Ray passes numbers on every ten seconds. What is read is up to that old, and a replica that is killed takes with it what it
counted since. `serve/http_metrics.py` reads what is counted here.
"""

import sys
from typing import Any, Protocol

SECONDS = "immersivaudio_module_seconds"
EXACT_SECONDS = "immersivaudio_module_work_seconds"
RUN_SECONDS = "immersivaudio_run_seconds"
WINDOWS = "immersivaudio_windows_waiting"
GPU_MEMORY = "immersivaudio_gpu_memory_bytes"
BOUNDARIES = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]


class Metrics(Protocol):
    """What is told to whoever watches the service. Nothing that a run depends on."""

    def run_accepted(self) -> None:
        """A run exists."""

    def run_ended(self, status: str, seconds: float) -> None:
        """A run has written its last event: finished, failed or cancelled, so long after it was accepted."""

    def run_resumed(self) -> None:
        """A run that another replica had begun was taken over."""

    def module_done(self, module: str, part: str | None, origin: str, seconds: float) -> None:
        """A module's output is there: `computed`, which took so long, or `cached`, or from another run."""

    def module_retried(self, module: str, cause: str) -> None:
        """A module failed for a reason of ours, and is tried again."""

    def module_failed(self, module: str, cause: str) -> None:
        """A run failed at this module: at the last attempt, for a reason of ours; at its `input`; or because it is `broken`."""

    def sound_made(self, part: str, model: str, seconds: float) -> None:
        """So much sound was computed: the result's length, times the candidates."""

    def queue(self, waiting: int, running: int) -> None:
        """Runs in the whole store. To be said at least every ten seconds: Ray forgets a number that is not repeated."""

    def oldest_waiting(self, seconds: float) -> None:
        """How long the run waits that has waited longest; 0 when none does. To be said as often."""

    def windows(self, waiting: float) -> None:
        """Windows of sound that this replica has to make, begun or not. To be said as often."""

    def uploaded(self, size: int) -> None:
        """So many bytes of a file came in."""


class NoMetrics:
    """Tells nobody: for tests and notebooks."""

    def run_accepted(self) -> None: ...

    def run_ended(self, status: str, seconds: float) -> None: ...

    def run_resumed(self) -> None: ...

    def module_done(self, module: str, part: str | None, origin: str, seconds: float) -> None: ...

    def module_retried(self, module: str, cause: str) -> None: ...

    def module_failed(self, module: str, cause: str) -> None: ...

    def sound_made(self, part: str, model: str, seconds: float) -> None: ...

    def queue(self, waiting: int, running: int) -> None: ...

    def oldest_waiting(self, seconds: float) -> None: ...

    def windows(self, waiting: float) -> None: ...

    def uploaded(self, size: int) -> None: ...


class RayMetrics:
    """Tells Ray. One per replica, made in it: Ray adds the application's, the deployment's and the replica's name."""

    def __init__(self) -> None:
        from ray.serve.metrics import Counter, Gauge, Histogram

        # Ray takes ASCII only, and adds `_total` to a counter's name.
        per_module: Any = ("module", "part", "origin")  # Any: Ray's own annotation has room for one label
        per_cause: Any = ("module", "cause")
        self._accepted = Counter("immersivaudio_runs_accepted", "Runs that were accepted.")
        self._ended = Counter("immersivaudio_runs_ended", "Runs that ended, by how.", ("status",))
        self._run_seconds = Histogram(RUN_SECONDS, "Seconds from acceptance to the end.", BOUNDARIES, ("status",))
        self._resumed = Counter("immersivaudio_runs_resumed", "Times a run was taken over by another replica.")
        self._seconds = Histogram(SECONDS, "Seconds that a module took for a run.", BOUNDARIES, per_module)
        self._exact_seconds = Counter(EXACT_SECONDS, "Sum of the seconds that a module took.", per_module)
        self._hits = Counter("immersivaudio_cache_hits", "Outputs taken from the cache.", ("module",))
        self._misses = Counter("immersivaudio_cache_misses", "Outputs that had to be computed.", ("module",))
        self._retries = Counter("immersivaudio_module_retries", "Further attempts, by cause.", per_cause)
        self._failures = Counter("immersivaudio_module_failures", "Runs that failed, by module and cause.", per_cause)
        per_model: Any = ("part", "model")
        self._sound = Counter("immersivaudio_sound_seconds", "Seconds of sound that were computed.", per_model)
        self._bytes = Counter("immersivaudio_upload_bytes", "Bytes of files that came in.")
        told = "in the whole store; the largest number that a replica gives."
        self._waiting = Gauge("immersivaudio_runs_waiting", f"Runs that wait for a replica {told}")
        self._running = Gauge("immersivaudio_runs_running", f"Runs that are worked on {told}")
        self._oldest = Gauge("immersivaudio_oldest_waiting_seconds", f"Age of the oldest run that waits {told}")

        self._windows = Gauge(WINDOWS, "Windows of 10.24 s of sound that audio replicas have to make.")

    def run_accepted(self) -> None:
        self._accepted.inc()

    def run_ended(self, status: str, seconds: float) -> None:
        self._ended.inc(tags={"status": status})
        self._run_seconds.observe(max(0.0, seconds), {"status": status})  # of two machines' clocks

    def run_resumed(self) -> None:
        self._resumed.inc()

    def module_done(self, module: str, part: str | None, origin: str, seconds: float) -> None:
        tags = {"module": module, "part": part or "", "origin": origin}
        self._seconds.observe(seconds, tags)
        if seconds > 0:  # Ray refuses to add nothing
            self._exact_seconds.inc(seconds, tags)
        if origin == "cached":
            self._hits.inc(tags={"module": module})
        elif origin == "computed":
            self._misses.inc(tags={"module": module})

    def module_retried(self, module: str, cause: str) -> None:
        self._retries.inc(tags={"module": module, "cause": cause})

    def module_failed(self, module: str, cause: str) -> None:
        self._failures.inc(tags={"module": module, "cause": cause})

    def sound_made(self, part: str, model: str, seconds: float) -> None:
        if seconds > 0:
            self._sound.inc(seconds, {"part": part, "model": model})

    def queue(self, waiting: int, running: int) -> None:
        self._waiting.set(waiting)
        self._running.set(running)

    def oldest_waiting(self, seconds: float) -> None:
        self._oldest.set(seconds)

    def windows(self, waiting: float) -> None:
        self._windows.set(waiting)

    def uploaded(self, size: int) -> None:
        if size > 0:
            self._bytes.inc(size)


class GpuMemory:
    """What the models of this process hold of their GPU, where there is one. One per replica."""

    def __init__(self) -> None:
        self._gauge: Any = None

    def tell(self) -> None:
        """To be called at least every ten seconds. Without torch, or before it has used a GPU, nothing happens."""
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return
        if self._gauge is None:
            from ray.serve.metrics import Gauge

            self._gauge = Gauge(GPU_MEMORY, "GPU memory that a replica's models hold; the largest of a deployment.")
        self._gauge.set(torch.cuda.memory_reserved())
