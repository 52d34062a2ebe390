"""What the client may know: HTTP, and the record's schema."""

import ast
import subprocess
import sys
from pathlib import Path

import client

ROOT = Path(__file__).parents[2]


def test_the_client_imports_nothing_of_ours_but_the_record() -> None:
    imported = set()
    for path in (ROOT / "client").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name} has a relative import"
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported.update(name.name for name in node.names)
    ours = {name for name in imported if name.split(".")[0] in {"models", "serve", "tests", "bench"}}
    assert ours == {"models.record"}


def test_the_command_line_loads_no_heavy_library() -> None:
    program = "import sys, client.cli; print(*{name.split('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(ran.stdout.split()) & {"numpy", "ray", "av", "PIL", "sklearn", "torch", "fastapi", "ffmpeg", "yaml"}


def test_the_public_names_are_there() -> None:
    assert sorted(client.__all__) == client.__all__
    assert all(hasattr(client, name) for name in client.__all__)
