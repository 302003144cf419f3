"""Lets the threads of the code under test be interrupted between any two of its steps.

A real thread can be interrupted anywhere, and not only where it waits. So in a simulation the
functions of some modules have a point before each statement, each call and each look into a
container at which another task may go on. They are otherwise what they were.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

from .scheduler import countdown, current

T = TypeVar("T")

MODULES = (
    "sharedstate.jobs.leader",
    "sharedstate.jobs.once",
    "sharedstate.locks.",
    "sharedstate.state.compute",
    "sharedstate.stores.combining.",
    "sharedstate.stores.etcd.",
    "sharedstate.stores.guards.",
)
"""What the names of the modules begin with that have to be right when they are interrupted."""

_NAME = "__interrupted__"


def interrupted(value: T) -> T:
    """The value, after others may have gone on."""
    countdown[0] -= 1
    if countdown[0] < 0 and (task := current()) is not None:
        task.interrupt()
    return value


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the code under test be interrupted anywhere, until this is left."""
    functions = plan()
    for function, _, code in functions:
        function.__globals__[_NAME] = interrupted
        function.__code__ = code
    try:
        yield
    finally:
        for function, code, _ in functions:
            function.__code__ = code
            function.__globals__.pop(_NAME, None)


@lru_cache(maxsize=1)
def plan() -> list[tuple[FunctionType, CodeType, CodeType]]:
    """Functions, each with its code and the code that can be interrupted."""
    found = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith(MODULES) and hasattr(module, "__file__"):
            codes = {_place(code): code for code in _codes(_compiled(module))}
            found += [
                (function, function.__code__, codes[_place(function.__code__)])
                for function in _functions(module, name)
                if _place(function.__code__) in codes
            ]
    return found


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_name, code.co_firstlineno


def _compiled(module: ModuleType) -> CodeType:
    tree = _Points().visit(ast.parse(inspect.getsource(module)))
    return compile(ast.fix_missing_locations(tree), str(module.__file__), "exec")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _functions(holder: Any, module: str) -> Iterator[FunctionType]:
    """The functions of a module and of its classes."""
    for value in list(vars(holder).values()):
        if getattr(value, "__module__", module) != module:
            continue
        if inspect.isclass(value):
            yield from _functions(value, module)
        for function in (value, *(getattr(value, part, None) for part in _PARTS)):
            if isinstance(function, FunctionType) and function.__module__ == module:
                yield function


_PARTS = ("fget", "fset", "__func__", "__wrapped__")
"""Where a property, a class method and a decorated function have their functions."""


class _Points(ast.NodeTransformer):
    """Adds the points at which others may go on."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = self._statements(node.body)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if not (isinstance(node.func, ast.Name) and node.func.id == "super"):
            node.func = _call(node.func)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.Subscript:
        self.generic_visit(node)
        node.value = _call(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.stmt, ast.excepthandler)) and not isinstance(node, ast.ClassDef):
            for name in ("body", "orelse", "finalbody"):
                if block := getattr(node, name, None):
                    setattr(node, name, self._statements(block))
            for name, value in ast.iter_fields(node):
                if name not in ("body", "orelse", "finalbody"):
                    setattr(node, name, self._visited(value))
            return node
        return super().generic_visit(node)

    def _visited(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._visited(one) for one in value]
        return self.visit(value) if isinstance(value, ast.AST) else value

    def _statements(self, block: Iterable[ast.stmt]) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for statement in block:
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not is_text and not isinstance(statement, (ast.Nonlocal, ast.Global)):
                point = ast.Expr(_call(ast.Constant(None)))
                statements.append(ast.copy_location(point, statement))
            statements.append(self.visit(statement))
        return statements


def _call(value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(_NAME, ast.Load()), [value], [])
