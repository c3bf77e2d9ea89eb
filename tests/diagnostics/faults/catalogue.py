"""Every kind of fault at every place of a valid file.

A place is chosen so that the change is a fault for certain, and one only: a bracket is taken away
where the rest cannot be read without it, a name is misspelt so that nothing else has that name.
"""

from __future__ import annotations

from dataclasses import replace

from tests.diagnostics.faults.meaning import MEANING
from tests.diagnostics.faults.places import Fault, units
from tests.diagnostics.faults.syntax import SYNTAX


def faults_of(text: str) -> list[Fault]:
    """All faults of the catalogue in a file, in order of place."""
    return [
        replace(fault, kind=kind)
        for unit in units(text)
        for places in (*SYNTAX, *MEANING)
        for kind, fault in places(unit)
    ]
