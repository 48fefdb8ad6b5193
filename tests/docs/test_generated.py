"""What the pages take from the code: complete tables, every public name once, docstrings as lists."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tensor_optix._about import VERSION
from tensor_optix._lazy import PUBLIC_NAMES
from tensor_optix.algorithms import spaces
from tensor_optix.core.loop_config import LoopConfig

DOCS = Path(__file__).parents[2] / "docs"


def hook(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"hooks/{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


generated = hook("generated")


@pytest.mark.parametrize("name", ["PPO_SPACE", "DQN_SPACE", "SAC_SPACE", "A2C_SPACE"])
def test_a_table_has_a_row_for_each_hyperparameter_with_its_default_and_meaning(name: str) -> None:
    space = vars(spaces)[name]
    rows = [line.split(" | ") for line in generated.hyperparameters(name).splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == list(space)
    for row, param in zip(rows, space.values(), strict=True):
        assert param.doc in row[2]
        assert row[1] == ("off" if param.default is None else f"`{generated._number(param.default)}`")


def test_the_loop_settings_are_all_there_and_explained() -> None:
    rows = [line.split(" | ") for line in generated.loop_settings("").splitlines() if line.startswith("| `")]
    told = {name: row[2].strip("| ") for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert set(told) == {field.name for field in dataclasses.fields(LoopConfig)}
    assert [name for name, meaning in told.items() if not meaning] == []


def test_the_api_pages_have_every_public_name_once() -> None:
    requests = re.findall(r"\{\{ names (\S+) \}\}", "".join(page.read_text() for page in DOCS.rglob("api/*.md")))
    told = sorted(name for where in requests for name in generated.names_in(where))
    assert told == sorted(PUBLIC_NAMES)


def test_every_verb_is_told_with_its_help() -> None:
    text = generated.commands()
    assert "## train" in text
    assert "Usage: tensor-optix train" in text
    assert "--max-steps" in text


def test_every_fragment_of_the_changelog_is_told_under_its_kind() -> None:
    assert generated.entries_of("Added: a b.\nFixed: c.\n") == [("Added", "a b."), ("Fixed", "c.")]
    assert generated.entries_of("### Changed\n- a\n  b\n- c\n") == [("Changed", "a b"), ("Changed", "c")]
    assert generated.entries_of("TrialOrchestrator: a search.\n") == [("Added", "TrialOrchestrator: a search.")]
    fragments = [path for path in generated.CHANGES.glob("*.md") if path.name != "README.md"]
    assert fragments
    assert all(generated.entries_of(path.read_text()) for path in fragments)
    assert "## Added" in generated.changes()


def test_the_citation_names_this_version() -> None:
    assert f"version: {VERSION}" in (DOCS.parent / "CITATION.cff").read_text()


def test_lines_of_programs_are_counted_without_blank_ones_and_comments() -> None:
    page = 'A\n\n## One\n\n```python title="x"\nimport a\n\n# why\na()\n```\n\n```bash title="y"\na b\n```\n'
    assert generated.lines_in(page) == {"One": {"x": 2, "y": 1}}
    told = generated.lines_in(generated.LINES_OF_CODE.read_text())
    assert len(told) == 5
    assert all(found.keys() <= set(generated.LIBRARIES) and "tensor-optix" in found for found in told.values())


def test_a_page_that_asks_for_what_there_is_not_fails() -> None:
    with pytest.raises(KeyError):
        generated.on_page_markdown("{{ nothing }}\n")


def test_other_text_of_a_page_stays_as_it_is() -> None:
    assert generated.on_page_markdown("a {{ b }} c\n") == "a {{ b }} c\n"


def test_arguments_of_a_docstring_become_a_list() -> None:
    pytest.importorskip("griffe", reason="docstrings are turned into pages by griffe, of the docs extra")
    text = (
        "Trains.\n\nagent: one, or\n    another (default: none). seed: a number.\nRaises ConfigError."
        "\n\nExample::\n\n    x: int = 1"
    )
    expected = (
        "Trains.\n\n- `agent`: one, or\n  another (default: none).\n- `seed`: a number.\n\nRaises ConfigError."
        "\n\nExample:\n\n    x: int = 1"
    )
    assert hook("docstrings").as_list(text) == expected
