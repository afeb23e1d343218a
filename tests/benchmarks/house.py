"""`python -m tests.benchmarks.house [TREE]`: count what makes the code hard to enter.

TREE is a checkout of any commit, this one by default. An import inside a function counts where it is written. What
begins with _ is not public, nor is what stands inside a function.
"""
from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

STAGES = ("pipeline", "extract", "data", "classify", "reports", "serve")
LAYOUTS = "extract/layouts"


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that import each other, directly or through others."""
    reach: dict[str, set[str]] = {}
    for module in imports:
        found, todo = set[str](), [module]
        while todo:
            for other in imports[todo.pop()] - found:
                found.add(other)
                todo.append(other)
        reach[module] = found
    rings = {tuple(sorted(other for other in reach[module] if module in reach[other]))
             for module in imports if module in reach[module]}
    return [list(ring) for ring in sorted(rings)]


def public(body: list[ast.stmt], inside: str = "") -> list[ast.AST]:
    """Return the public functions, classes and methods of a module or class."""
    found: list[ast.AST] = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                found += public(node.body, node.name)
    return found


def main(tree: Path) -> None:
    """Print the counts of one checkout."""
    files = {path.relative_to(tree): ast.parse(path.read_text()) for stage in STAGES
             for path in sorted((tree / stage).rglob("*.py"))}
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    imports: dict[str, set[str]] = {name: set() for name in names}
    inside_functions = private = 0
    bare, n_public, loose = [], 0, 0
    for name, path in names.items():
        parsed = files[path]
        top = set(map(id, parsed.body))
        for node in ast.walk(parsed):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inside_functions += sum(isinstance(step, (ast.Import, ast.ImportFrom)) for step in ast.walk(node)
                                        if id(step) not in top) if not _nested(parsed, node) else 0
                returns = ast.unparse(node.returns) if node.returns else ""
                loose += any(word in returns for word in ("Any", "dict"))
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                imports[name] |= {other if other in names else node.module for other in whole
                                  if other in names or node.module in names} - {name}
                private += sum(alias.name.startswith("_") for alias in node.names if node.module in names)
            elif isinstance(node, ast.Import):
                imports[name] |= {alias.name for alias in node.names if alias.name in names} - {name}
        for node in public(parsed.body):
            n_public += 1
            if not ast.get_docstring(node):  # type: ignore[arg-type]
                bare.append(f"{path}:{getattr(node, 'name')}")
    per_folder = Counter(str(path.parent) for path in files if path.name != "__init__.py")
    largest = [f"{folder} {n}" for folder, n in per_folder.most_common() if folder != LAYOUTS][:3]
    print(f"modules: {sum(per_folder.values())}; most in a folder, without {LAYOUTS}: {', '.join(largest)}")
    print(f"circles of imports: {len(circles(imports))} {circles(imports) or ''}")
    print(f"imports inside functions: {inside_functions}")
    print(f"private names imported from another module: {private}")
    print(f"public functions, classes and methods without a docstring: {len(bare)} of {n_public} {bare[:5] or ''}")
    print(f"functions that return Any or a dict: {loose}")


def _nested(parsed: ast.Module, node: ast.AST) -> bool:
    """Whether a function stands inside another, whose walk counts its imports already."""
    return any(node is not outer and any(node is step for step in ast.walk(outer)) for outer in ast.walk(parsed)
               if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2])
