"""`make demo`: builds the sample, starts the service, sends the sample through it and leaves `out/demo.mp4`."""

import sys
import time
from pathlib import Path

from rich.console import Console

from client.artifacts import result_name
from client.client import ImmersivaudioClient
from client.errors import ClientError
from client.local_service import local_service
from client.protocol import finished
from client.sample import build_sample
from client.view import view_for

OUT = Path("out")
READY_SECONDS = 180


def main() -> int:
    """The exit code: 0 with a result, 1 without, 130 after Ctrl-C."""
    console = Console(stderr=True, highlight=False)
    try:
        _demo(console)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except (ClientError, OSError) as error:
        console.print(f"demo: {error}", markup=False, soft_wrap=True)
        return 1
    return 0


def _demo(console: Console) -> None:
    began = time.monotonic()
    sample, result, log = OUT / "sample.mp4", OUT / "demo.mp4", OUT / "serve.log"
    with local_service(Path("serve_config.yaml"), log=log) as here:
        try:
            console.print(f"starting the service; it writes to {log}")
            build_sample(sample)
            console.print(f"{sample} is built: 12 s, two scenes, no sound")
            with console.status("waiting for the service"):
                here.wait_until_ready(timeout_seconds=READY_SECONDS)
            console.print(f"the service is ready at {here.url}, {time.monotonic() - began:.1f} s after the start")
            _enhance(here.url, sample, result, console)
            console.print(f"{result} is there, {time.monotonic() - began:.1f} s after the start: play it")
        finally:
            console.print("stopping the service")
    console.print(
        "Next: `make serve`, and in another terminal `make ui`: the studio, in your browser. "
        "Or `.venv/bin/immersivaudio enhance YOUR_VIDEO`",
        soft_wrap=True,
    )


def _enhance(url: str, source: Path, result: Path, console: Console) -> None:
    with ImmersivaudioClient(url) as service:
        with view_for(console) as view:
            view.sending(source.name)
            run = service.submit(source)
            for message in service.events(run.id):
                view.see(run.id, message)
        run = finished(service.run(run.id))
        service.download(run.id, result_name(run), result)


if __name__ == "__main__":
    sys.exit(main())
