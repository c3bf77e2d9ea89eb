"""TVM's MergeComposite beside `qpat.merge_composite`."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relay

import qpat


def same_as_tvm(table: Any, module: Any) -> int:
    """Both on one module: structurally equal, equal as text, nothing left to TVM. Gives the number
    of composites."""
    before = tvm.ir.structural_hash(module)
    expected = relay.transform.MergeComposite(table)(module)
    merged = qpat.merge_composite(table).apply(module)
    assert merged.fallbacks == ()
    must_be_equal(expected, merged.module)
    assert tvm.ir.structural_hash(module) == before
    return composites(merged.module)


def must_be_equal(expected: Any, module: Any) -> None:
    """Structurally and as text. Two constants whose types have a dimension in one object have it in
    two after InferType, which TVM's pass ends with; that is seen in the JSON behind the text."""
    tvm.ir.assert_structural_equal(expected, module)
    assert module.astext(show_meta_data=False) == expected.astext(show_meta_data=False)
    assert relay.transform.InferType()(module).astext() == expected.astext()


def composites(module: Any) -> int:
    return int(module.astext(show_meta_data=False).count("Composite="))
