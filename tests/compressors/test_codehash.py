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
    name = "Name(id='{}', ctx=Load())".format
    text_of_x = (
        f"FormattedValue(value={name('x')}, conversion=114, format_spec=JoinedStr(values=[Constant(value='>3')]))"
    )
    listed = f"{name('x')}, Constant(value=Ellipsis), Constant(value=None), JoinedStr(values=[{text_of_x}])"
    index = "Tuple(elts=[Constant(value=0), Constant(value=Ellipsis)], ctx=Load())"
    right = f"Subscript(value={name('y')}, slice={index}, ctx=Load())"
    expected = (
        f"Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[], args=[arg(arg='x', "
        f"annotation={name('int')})], "
        "vararg=arg(arg='y'), kwonlyargs=[], kw_defaults=[], defaults=[Constant(value=1)]), body=["
        f"Assign(targets=[Name(id='z', ctx=Store())], value=BinOp(left=List(elts=[{listed}], ctx=Load()), op=Add(), "
        f"right={right})), Return(value={name('z')})], decorator_list=[], returns=Constant(value=None))], "
        "type_ignores=[])"
    )
    assert dump(ast.parse(text)) == expected


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the reference is Python 3.11's own ast.dump")
@pytest.mark.parametrize("path", sorted((ROOT / "compressors").glob("*.py")), ids=lambda path: path.stem)
def test_dump_of_our_code_is_that_of_python_3_11(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert dump(tree) == ast.dump(tree)
