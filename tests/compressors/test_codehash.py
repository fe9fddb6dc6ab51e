"""The hash of code is the same in every version of Python: records made by one are found by another."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from compressors.codehash import dump

ROOT = Path(__file__).resolve().parents[2]


def test_dump_has_what_ast_dump_had_in_python_3_11():
    text = "def f(x: int = 1, *y) -> None:\n    z = [x, ..., None, f'{x!r:>3}'] + y[0, ...]\n    return z\n"
    expected = (
        "Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[], args=[arg(arg='x', annotation=Name(id='int', "
        "ctx=Load()))], vararg=arg(arg='y'), kwonlyargs=[], kw_defaults=[], defaults=[Constant(value=1)]), body=["
        "Assign(targets=[Name(id='z', ctx=Store())], value=BinOp(left=List(elts=[Name(id='x', ctx=Load()), "
        "Constant(value=Ellipsis), Constant(value=None), JoinedStr(values=[FormattedValue(value=Name(id='x', ctx=Load()), "
        "conversion=114, format_spec=JoinedStr(values=[Constant(value='>3')]))])], ctx=Load()), op=Add(), right="
        "Subscript(value=Name(id='y', ctx=Load()), slice=Tuple(elts=[Constant(value=0), Constant(value=Ellipsis)], "
        "ctx=Load()), ctx=Load()))), Return(value=Name(id='z', ctx=Load()))], decorator_list=[], "
        "returns=Constant(value=None))], type_ignores=[])"
    )
    assert dump(ast.parse(text)) == expected


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the reference is Python 3.11's own ast.dump")
@pytest.mark.parametrize("path", sorted((ROOT / "compressors").glob("*.py")), ids=lambda path: path.stem)
def test_dump_of_our_code_is_that_of_python_3_11(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert dump(tree) == ast.dump(tree)
