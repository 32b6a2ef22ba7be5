"""`python -m lrtuner.schema`: write the shipped schema anew from the models."""

from pathlib import Path

from lrtuner.schema import FILE, generated

Path(__file__).with_name(FILE).write_text(generated(), encoding="utf-8")
