"""Write the JSON schema of the parameters, for editors; a test holds it to the model."""

import argparse
from pathlib import Path

from dp import files
from dp.study import params

FILE = Path("workflow/params.schema.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace) -> None:
    files.write_text(FILE, params.schema())
    print(f"wrote {FILE}")
