"""The committed pipeline is what `generate` makes; to renew it: etl-cli generate --name example --force."""

from __future__ import annotations

import json
from pathlib import Path

from etl_cli.scaffold import Answers, generate
from etl_cli.scaffold.wheel import Wheel

EXAMPLE = Path(__file__).parents[3] / "pipelines" / "example"
UNTRACKED = {".env", "vendor"}


def test_the_example_is_what_generate_renders(root: Path, wheel: Wheel) -> None:
    known = json.loads((EXAMPLE / ".etl-cli.json").read_text())
    answers = Answers("example", id=known["id"], python=known["python"])
    made = generate(answers, root, wheel=wheel).directory
    wanted = {path.name: path.read_text() for path in made.iterdir() if path.name not in UNTRACKED}
    assert {name: (EXAMPLE / name).read_text() for name in wanted} == wanted
