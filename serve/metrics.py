"""What the service counts, and how: through Ray, which collects on every node and keeps the counts of a replica that has died.

Ray passes numbers on every ten seconds. What is read is up to that old, and a replica that is killed takes with it what it
counted since. `serve/http_metrics.py` reads what is counted here.
"""

from typing import Any, Protocol

SECONDS = "immersivaudio_module_seconds"
EXACT_SECONDS = "immersivaudio_module_work_seconds"
BOUNDARIES = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]


class Metrics(Protocol):
    """What is told to whoever watches the service. Nothing that a run depends on."""

    def run_accepted(self) -> None:
        """A run exists."""

    def run_ended(self, status: str) -> None:
        """A run has written its last event: finished, failed or cancelled."""

    def run_resumed(self) -> None:
        """A run that another replica had begun was taken over."""

    def module_done(self, module: str, part: str | None, origin: str, seconds: float) -> None:
        """A module's output is there: `computed`, which took so long, or `cached`, or from another run."""

    def module_retried(self, module: str, cause: str) -> None:
        """A module failed for a reason of ours, and is tried again."""

    def queue(self, waiting: int, running: int) -> None:
        """Runs in the whole store. To be said at least every ten seconds: Ray forgets a number that is not repeated."""

    def uploaded(self, size: int) -> None:
        """So many bytes of a file came in."""


class NoMetrics:
    """Tells nobody: for tests and notebooks."""

    def run_accepted(self) -> None: ...

    def run_ended(self, status: str) -> None: ...

    def run_resumed(self) -> None: ...

    def module_done(self, module: str, part: str | None, origin: str, seconds: float) -> None: ...

    def module_retried(self, module: str, cause: str) -> None: ...

    def queue(self, waiting: int, running: int) -> None: ...

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
        self._resumed = Counter("immersivaudio_runs_resumed", "Times a run was taken over by another replica.")
        self._seconds = Histogram(SECONDS, "Seconds that a module took for a run.", BOUNDARIES, per_module)
        self._exact_seconds = Counter(EXACT_SECONDS, "Sum of the seconds that a module took.", per_module)
        self._hits = Counter("immersivaudio_cache_hits", "Outputs taken from the cache.", ("module",))
        self._misses = Counter("immersivaudio_cache_misses", "Outputs that had to be computed.", ("module",))
        self._retries = Counter("immersivaudio_module_retries", "Further attempts, by cause.", per_cause)
        self._bytes = Counter("immersivaudio_upload_bytes", "Bytes of files that came in.")
        told = "in the whole store; the largest number that a replica gives."
        self._waiting = Gauge("immersivaudio_runs_waiting", f"Runs that wait for a replica {told}")
        self._running = Gauge("immersivaudio_runs_running", f"Runs that are worked on {told}")

    def run_accepted(self) -> None:
        self._accepted.inc()

    def run_ended(self, status: str) -> None:
        self._ended.inc(tags={"status": status})

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

    def queue(self, waiting: int, running: int) -> None:
        self._waiting.set(waiting)
        self._running.set(running)

    def uploaded(self, size: int) -> None:
        if size > 0:
            self._bytes.inc(size)
