"""Which parts of the pages are made from the code, and how? Whatever stands there once must not be written again.

A page asks for one of them by a line of its own:

    {{ hyperparameters PPO_SPACE }}     a table of that Space
    {{ loop settings }}                 a table of LoopConfig
    {{ commands }}                      the help of every verb
    {{ changes }}                       the fragments of changelog.d, by kind
    {{ names core.types }}              API entries of the public names in that module, or below that package
    {{ lines of code }}                 how many lines each library's programs on that page have
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tensor_optix._lazy import PUBLIC_NAMES
from tensor_optix.algorithms import spaces
from tensor_optix.cli import app
from tensor_optix.core.hyperparams import Param, Space
from tensor_optix.core.loop_config import LoopConfig

CHANGES = Path(__file__).parents[2] / "changelog.d"
LINES_OF_CODE = Path(__file__).parents[1] / "explanation/lines-of-code.md"
LIBRARIES = ("tensor-optix", "Stable-Baselines3", "CleanRL", "RLlib")
KINDS_OF_CHANGE = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")

_SECTION = re.compile(r"^    (?P<heading>[A-Z][^\n:.]*)\n(?P<text>(?:        [^\n]*\n|\n)+)", re.MULTILINE)
_FIELD = "|".join(field.name for field in dataclasses.fields(LoopConfig))
_EXPLAINED = re.compile(rf"(?<!\w)((?:(?:{_FIELD}), )*(?:{_FIELD})): ")
_PROGRAM = re.compile(r'^```(?:python|bash) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_REQUEST = re.compile(r"^\{\{ (?P<words>[^}]+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """What MkDocs calls for every page."""
    return _REQUEST.sub(lambda found: generated(*found["words"].split()), markdown)


def generated(kind: str, *arguments: str) -> str:
    """The Markdown that a page asks for. Raises KeyError for a kind that there is not."""
    return _KINDS[kind](*arguments)


# -- tables ----------------------------------------------------------------------------------------------------------


def hyperparameters(space_name: str) -> str:
    """A row for each hyperparameter of a Space."""
    space: Space = vars(spaces)[space_name]
    header = ("name", "default", "meaning", "explored", "allowed", "tuned")
    return _named(_table(header, [_row(*item) for item in space.items()]))


def _row(name: str, param: Param) -> list[str]:
    default = "off" if param.default is None else f"`{_number(param.default)}`"
    explored = "" if param.low is None else f"{_number(param.low)} to {_number(param.high)}"
    scale = ", log" if param.kind.startswith("log_") else ""
    allowed = "" if param.kind in ("bool", "categorical") else f"`{param.limits}`"
    schedule = "; takes a `LinearSchedule`" if param.schedulable else ""
    return [f"`{name}`", default, param.doc + schedule, explored + scale, allowed, "yes" if param.tunable else ""]


def loop_settings(_: str) -> str:
    """A table of LoopConfig for each section of its docstring; fields that it does not explain at the end."""
    docstring = LoopConfig.__doc__ or ""
    sections = [*_SECTION.findall(docstring), ("Further", _SECTION.sub("", docstring))]
    tables = [(heading, settings_in(text)) for heading, text in sections]
    told = {name for _, rows in tables for row in rows for name in re.findall(r"\w+", row[0])}
    tables[-1][1].extend(
        [f"`{field.name}`", f"`{_number(field.default)}`", _sentence_with(field.name, docstring)]
        for field in dataclasses.fields(LoopConfig)
        if field.name not in told
    )
    header = ("setting", "default", "meaning")
    return "\n\n".join(f"## {heading}\n\n{_named(_table(header, rows))}" for heading, rows in tables)


def settings_in(text: str) -> list[list[str]]:
    """Names, defaults and meaning of the fields that ``text`` explains as ``name, name: meaning``."""
    defaults = {field.name: field.default for field in dataclasses.fields(LoopConfig)}
    _, *parts = _EXPLAINED.split(" ".join(text.split()))
    return [
        [
            ", ".join(f"`{name}`" for name in names.split(", ")),
            ", ".join(f"`{_number(defaults[name])}`" for name in names.split(", ")),
            meaning.replace("``", "`").strip(" ;"),
        ]
        for names, meaning in zip(parts[::2], parts[1::2], strict=True)
    ]


def _sentence_with(name: str, text: str) -> str:
    """Where ``text`` speaks of ``name`` without explaining it by itself; nothing where it does not."""
    mention = rf"\b{name}\b|\b{name.split('_')[0]}_\*"  # by itself, or as one of a group: diag_*
    sentences = re.split(r"(?<=[.;]) ", " ".join(text.split()))
    return next((one.replace("``", "`").strip(" ;") for one in sentences if re.search(mention, one)), "")


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in cells) + " |" for cells in lines)


def _named(table: str) -> str:
    """A table of names, to be told from others by docs/stylesheets/extra.css."""
    return f'<div class="names" markdown>\n\n{table}\n\n</div>'


def _escaped(cell: str) -> str:
    """A bar in code separates no columns, and would keep its backslash."""
    parts = cell.split("`")
    return "`".join(part if number % 2 else part.replace("|", "\\|") for number, part in enumerate(parts))


# -- commands and names ----------------------------------------------------------------------------------------------


def commands() -> str:
    """Every verb with its own ``--help``."""
    verbs = [str(command.name) for command in app.registered_commands]
    return "\n\n".join(f"## {verb}\n\n```text\n{help_of(verb)}\n```" for verb in verbs)


def help_of(verb: str) -> str:
    """What ``tensor-optix VERB --help`` shows."""
    terminal = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    return str(CliRunner().invoke(app, [verb, "--help"], env=terminal, prog_name="tensor-optix").stdout.strip())


def names(where: str) -> str:
    """An entry for every public name that is defined in ``where``, or below it."""
    return "\n\n".join(f"::: {PUBLIC_NAMES[name]}.{name}" for name in names_in(where))


def names_in(where: str) -> list[str]:
    """Public names by the module that defines them, in the order of the table."""
    home = f"tensor_optix.{where}"
    return [name for name, module in PUBLIC_NAMES.items() if f"{module}.".startswith(f"{home}.")]


def changes() -> str:
    """What changelog.d says, under its kinds."""
    told: dict[str, list[str]] = {kind: [] for kind in KINDS_OF_CHANGE}
    for fragment in sorted(CHANGES.glob("*.md")):
        if fragment.name != "README.md":
            for kind, text in entries_of(fragment.read_text()):
                told[kind].append(f"- {text}")
    return "\n\n".join(f"## {kind}\n\n" + "\n".join(items) for kind, items in told.items() if items)


def entries_of(fragment: str) -> list[tuple[str, str]]:
    """(kind, text) of each entry: ``Kind: text``, a heading ``### Kind`` above items, or text alone (Added)."""
    kind, entries = "Added", list[tuple[str, str]]()
    for line in fragment.splitlines():
        word = re.match(r"(?:### )?(\w+)(?:: |$)", line)
        if word and word[1] in KINDS_OF_CHANGE:
            kind = word[1]
            line = line[word.end() :]
            entries += [(kind, line)] if line else []
        elif line.startswith("- "):
            entries.append((kind, line[2:]))
        elif line.startswith(" ") and entries:
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line.strip()}")
        elif line.strip():
            entries.append((kind, line))
    return entries


def lines_of_code(*_: str) -> str:
    """A row for each task of the page, a column for each library; lines that are blank or comments do not count."""
    counts = lines_in(LINES_OF_CODE.read_text())
    rows = [[task, *(str(found.get(library, "—")) for library in LIBRARIES)] for task, found in counts.items()]
    return _table(("task", *LIBRARIES), rows)


def lines_in(page: str) -> dict[str, dict[str, int]]:
    """Task -> library -> lines, of the titled blocks below each heading."""
    _, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    return {
        section.partition("\n")[0]: {
            library: sum(bool(line.strip()) and not line.strip().startswith("#") for line in program.splitlines())
            for library, program in _PROGRAM.findall(section)
        }
        for section in sections
    }


_KINDS: dict[str, Callable[..., str]] = {
    "hyperparameters": hyperparameters,
    "loop": loop_settings,
    "commands": commands,
    "changes": changes,
    "names": names,
    "lines": lines_of_code,
}
