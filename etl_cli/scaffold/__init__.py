"""Answers in, files out: what `etl-cli generate` writes.

`generate` is the one door. It returns data and prints nothing. Looking to change what a pipeline
contains? Start in templates/pipeline/.
"""

from etl_cli.scaffold.answers import Answers
from etl_cli.scaffold.generate import Outcome, generate
from etl_cli.scaffold.next_commands import next_commands
from etl_cli.scaffold.plan import Action, Change

__all__ = ["Action", "Answers", "Change", "Outcome", "generate", "next_commands"]
