"""Stands in for `serve run CONFIG`: the fake service as a process, with children as Ray has them. Prints the id of each.

One child is in a process group of its own and deaf to every polite signal, so it outlives its parent. The configuration's
`behaviour` says what goes wrong: nothing, `dies`, `never_ready`, `slow`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

DEAF = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print(flush=True); time.sleep(600)"


def main() -> None:
    config = yaml.safe_load(Path(sys.argv[-1]).read_text())
    deaf = subprocess.Popen([sys.executable, "-c", DEAF], process_group=0, stdout=subprocess.PIPE)
    assert deaf.stdout
    deaf.stdout.readline()
    print("pids", os.getpid(), deaf.pid, flush=True)
    print("environment", os.environ["RAY_ADDRESS"], os.environ["RAY_TMPDIR"], flush=True)
    print("SIGINT", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
    match config.get("behaviour"):
        case "dies":
            sys.exit("no such module")
        case "never_ready":
            time.sleep(600)
    import uvicorn

    from tests.client.fake import Fake, create_app

    app = create_app(Fake(slow_seconds=1 if config.get("behaviour") == "slow" else 0))
    app.get("/readyz")(lambda: "ready")
    uvicorn.run(app, port=config["http_options"]["port"], log_config=None, ws="none")


if __name__ == "__main__":
    main()
