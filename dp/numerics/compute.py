"""What a job computes on."""

from typing import Literal

from pydantic import PositiveInt

from dp.closed import Settings


class Compute(Settings):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    "of the backbone; the prompt is float32"
    threads: PositiveInt = 1
    "CPU threads of one job; part of what makes bytes repeatable"
