"""Is there a test for each fault? They are numbered 01 to 35, and each number has a file with tests of its own."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parent
NUMBERS = range(1, 36)


def numbered() -> list[tuple[int, Path]]:
    found = ((re.fullmatch(r"test_(\d\d)_\w+\.py", path.name), path) for path in sorted(FOLDER.glob("test_*.py")))
    return [(int(match[1]), path) for match, path in found if match and int(match[1])]


def test_each_number_has_one_file() -> None:
    assert Counter(number for number, _path in numbered()) == Counter(NUMBERS)


def test_each_file_says_what_goes_wrong_and_tests_it() -> None:
    for _number, path in numbered():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path.name
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        tests = [function for function in functions if function.name.startswith("test_")]
        assert tests, path.name
        for test in tests:
            assert any(isinstance(node, ast.Assert) for node in ast.walk(test)), (path.name, test.name)
