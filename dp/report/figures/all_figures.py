"""All figures of a report, by name: each is a module here with ABOUT, COLUMNS, data and draw (docs/extend.md)."""

from importlib import import_module

from dp.study.contents import FIGURES, OF_PREDICTIONS

ALL = {name: import_module(f"dp.report.figures.{name}") for name in (*FIGURES, *OF_PREDICTIONS)}
