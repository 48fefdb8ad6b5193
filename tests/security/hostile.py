"""What can be wrong with a run directory on purpose? Every hostile input, as code that makes it from a sound run."""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.security.sound_run import ARRAYS, EVENTS, GENERATION, MANIFEST, METRICS, RUN, STATE, Files

OF_SNAPSHOTS = ("load_best", "load_ensemble", "load_weights")  # the readers that must refuse a bad snapshot
REFUSED_BY = {
    ARRAYS: OF_SNAPSHOTS, STATE: OF_SNAPSHOTS, MANIFEST: OF_SNAPSHOTS,
    RUN: ("open", "quick.load"), METRICS: ("read_metrics",), EVENTS: ("read_events",),
}  # fmt: skip
OF_REGISTRY = ("load_best", "load_ensemble")
LOGS = (METRICS, EVENTS)

Build = Callable[[Files], None]


@dataclass(frozen=True)
class Case:
    """One hostile input. ``refused_by``: the readers that must not succeed; any other reader may, unharmed."""

    name: str
    build: Build
    refused_by: tuple[str, ...]
    is_opaque: bool = False


def corpus() -> list[Case]:
    """All cases, by threat."""
    parts = (
        _code(), _fallbacks(), _names(), _stand_ins(), _headers(), _json_bombs(), _lies(), _weights(), _imports(),
        _terminal_tricks(),
    )  # fmt: skip
    return [case for part in parts for case in part]


def _put_row(name: str, row: bytes, files: Files) -> None:
    files.put(name, b'{"tick": 0}\n' + row + b'\n{"tick": 2}\n')


def _everywhere(kind: str, payload: Callable[[Files], bytes], names: tuple[str, ...]) -> Iterator[Case]:
    """A payload in place of each file; in files with a hash also with the right hash; in logs as a row."""
    for name in names:
        if name in LOGS:
            yield Case(f"{kind} as a row of {name}", _row_of(name, payload), REFUSED_BY[name])
            continue
        yield Case(f"{kind} as {name}", _file_of(name, payload), REFUSED_BY[name])
        if name in (ARRAYS, STATE):
            yield Case(f"{kind} as {name} with its hash", _sealed(name, payload), REFUSED_BY[name])


def _row_of(name: str, payload: Callable[[Files], bytes]) -> Build:
    return lambda files: _put_row(name, payload(files).replace(b"\0", b" "), files)


def _file_of(name: str, payload: Callable[[Files], bytes]) -> Build:
    return lambda files: files.put(name, payload(files))


def _sealed(name: str, payload: Callable[[Files], bytes]) -> Build:
    return lambda files: files.seal(name, payload(files))


# -- code (S01, S02) -------------------------------------------------------------------------------------------


class _Bomb:
    """Unpickled, it runs a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def _touch(files: Files) -> str:
    return f"touch {files.canary}"


def _python(files: Files) -> str:
    return f"import os; os.system({_touch(files)!r})"


def _pickle(files: Files, protocol: int = 4) -> bytes:
    return pickle.dumps(_Bomb(_touch(files)), protocol=protocol)


def _torch_zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", _pickle(files, 2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def _npy_object(files: Files) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([_Bomb(_touch(files))], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _npz_object(files: Files) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, a=np.array([_Bomb(_touch(files))], dtype=object))
    return buffer.getvalue()


def _serialized(files: Files) -> bytes:
    return json.dumps({":serialized:": base64.b64encode(_pickle(files)).decode()}).encode()


def _code() -> Iterator[Case]:
    payloads: dict[str, Callable[[Files], bytes]] = {
        **{f"a pickle of protocol {n}": partial(_pickle, protocol=n) for n in (0, 2, 5)},
        "a torch zip": _torch_zip,
        "an object array": _npy_object,
        "an archive of object arrays": _npz_object,
        "a joblib dump": lambda files: zlib.compress(_pickle(files)),
        "marshalled code": lambda files: marshal.dumps(compile(_python(files), "", "exec")),
        "a YAML tag": lambda files: f"!!python/object/apply:os.system ['{_touch(files)}']".encode(),
        "a Python file": lambda files: _python(files).encode(),
        "a shell script": lambda files: f"#!/bin/sh\n{_touch(files)}".encode(),
        "a Keras lambda": lambda files: json.dumps([{"class_name": "Lambda", "config": _touch(files)}]).encode(),
        "a reference to a class": lambda files: json.dumps([{"_target_": "os.system", "x": _touch(files)}]).encode(),
    }
    for kind, payload in payloads.items():
        yield from _everywhere(kind, payload, (ARRAYS, STATE, MANIFEST, RUN, METRICS, EVENTS))
    yield Case("a pickle in base64 as state.json", _sealed(STATE, _serialized), OF_SNAPSHOTS)
    yield Case("a pickle in base64 as run.json", _file_of(RUN, _serialized), REFUSED_BY[RUN])


def _fallbacks() -> Iterator[Case]:
    """Files that an unsafe second attempt would pick up when the safe way fails, or that lie ready to be imported."""

    def beside(name: str, files: Files) -> None:
        (files.run / GENERATION / name).write_bytes(_pickle(files))

    def beside_broken(name: str, files: Files) -> None:
        beside(name, files)
        files.seal(ARRAYS, b"")

    for name in ("arrays.pkl", "arrays.pt", "arrays.npy", "data.pkl", "conftest.py", "sitecustomize.py", "os.py"):
        yield Case(f"{name} beside", partial(beside, name), OF_SNAPSHOTS)
        yield Case(f"{name} beside broken arrays", partial(beside_broken, name), OF_SNAPSHOTS)


# -- names (S03) -----------------------------------------------------------------------------------------------

NAMES = {
    "up": "../../.ssh/x", "an absolute path": "/etc/passwd", "backslashes": "..\\..\\x", "a drive": "C:\\x",
    "up in the middle": "a/../../b", "a device": "con", "a zero byte": "x\0y", "composed": "\u00e9",
    "decomposed": "e\u0301", "a long name": "a" * 5_000, "a trailing dot": "x.", "a trailing space": "x ",
    "nothing": "", "itself": ".", "a control sequence": "\x1b[2J\x1b]0;owned\x07", "a line break": "a\nb",
    "right to left": "\u202egpj.exe", "a URL": "file:///etc/passwd", "home": "~/.bashrc", "a variable": "${HOME}/x",
}  # fmt: skip
_VALID_ARRAY_NAMES = ("up", "an absolute path", "up in the middle", "a device", "a trailing dot", "itself")


def _names() -> Iterator[Case]:
    def listed(name: str, files: Files) -> None:
        files.edit(MANIFEST, lambda m: m["files"].append({"name": name, "size": 1, "sha256": "0" * 64}))

    def renamed(name: str, files: Files) -> None:
        files.edit(MANIFEST, lambda m: m["files"][0].update(name=name))

    def array(name: str, files: Files) -> None:
        data = files.path(ARRAYS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header[name] = header.pop("networks/actor/0.bias")
        files.seal(ARRAYS, _packed(header, data[8 + length :]))
        files.edit(MANIFEST, lambda m: m["arrays"].update({name: m["arrays"].pop("networks/actor/0.bias")}))

    def mark(value: Any, files: Files) -> None:
        files.edit(STATE, lambda s: s["networks"]["actor"].update({"0.bias": {"__array__": value}}))

    for kind, name in NAMES.items():
        yield Case(f"{kind} among the files", partial(listed, name), OF_SNAPSHOTS)
        yield Case(f"{kind} for the arrays' file", partial(renamed, name), OF_SNAPSHOTS)
        yield Case(f"{kind} for an array", partial(array, name), OF_SNAPSHOTS)
        yield Case(f"{kind} for an array in the state", partial(mark, name), OF_SNAPSHOTS)
        if kind not in ("a device", "a trailing dot"):
            yield Case(f"{kind} for the run", _with(RUN, run_id=name), REFUSED_BY[RUN])
    for value in (None, 1, [], {}, ["networks/actor/0.bias"]):
        yield Case(f"{value!r} for an array in the state", partial(mark, value), OF_SNAPSHOTS)
    for name in ("0000000000001", "000000000002 ", "00000000000\uff11", "-00000000001", "con", "1e11", "e\u0301"):
        make = partial(_make_folder, f"snapshots/{name}")
        yield Case(f"a generation called {name!r}", make, OF_REGISTRY)


def _make_folder(name: str, files: Files) -> None:
    (files.run / name).mkdir()


def _with(name: str, **fields: Any) -> Build:
    """A JSON object with other fields."""
    return lambda files: files.edit(name, lambda value: value.update(fields))


# -- links and special files (S04) -----------------------------------------------------------------------------


def _link_to_itself(path: Path, elsewhere: Path) -> None:
    path.symlink_to(path.name)


def _link_to_content(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def _dangling_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to("nowhere")


def _link_to_secret(path: Path, elsewhere: Path) -> None:
    path.symlink_to("/etc/passwd")


def _hard_link(path: Path, elsewhere: Path) -> None:
    secret = elsewhere.with_name("secret")
    secret.write_bytes(elsewhere.read_bytes() if elsewhere.is_file() else b"secret")
    path.hardlink_to(secret)


def _pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, elsewhere: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path, elsewhere: Path) -> None:
    with suppress(PermissionError):  # without the right to make one there is no file at all, which is refused as well
        os.mknod(path, 0o20600, os.makedev(1, 5))  # /dev/zero


def _folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()


def _sparse(path: Path, elsewhere: Path) -> None:
    path.touch()
    os.truncate(path, 8 << 40)


STAND_INS = {
    "a link to itself": _link_to_itself, "a link to its own content": _link_to_content,
    "a dangling link": _dangling_link, "a link to a secret": _link_to_secret, "a hard link": _hard_link,
    "a pipe": _pipe, "a socket": _socket, "a device": _device, "a directory": _folder, "8 TiB of nothing": _sparse,
}  # fmt: skip


def _stand_ins() -> Iterator[Case]:
    def stand_in(name: str, make: Callable[[Path, Path], None], files: Files) -> None:
        path = files.path(name)
        path.rename(files.outside / "moved")
        make(path, files.outside / "moved")

    places = {**REFUSED_BY, GENERATION: (*OF_SNAPSHOTS, "quick.load"), "snapshots": (*OF_REGISTRY, "quick.load")}
    for place, refused_by in places.items():
        for kind, make in STAND_INS.items():
            if (place, make) != ("snapshots", _folder) and not (place in LOGS and make is _device):
                yield Case(f"{kind} as {place}", partial(stand_in, place, make), refused_by)
    for place in ("weights", "weights/model.bin", "weights/deep", "weights/deep/more.bin"):
        for kind, make in STAND_INS.items():
            yield Case(f"{kind} as {place}", partial(stand_in, place, make), ("opaque",), is_opaque=True)


# -- headers of arrays (S05) -----------------------------------------------------------------------------------


def _packed(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def _headers() -> Iterator[Case]:
    four = b"\0" * 4
    entry = json.dumps(_entry()).encode()
    headers: dict[str, Callable[[], bytes]] = {
        "no bytes": lambda: b"",
        "seven bytes": lambda: b"\0" * 7,
        "a header of 2**63": lambda: (2**63).to_bytes(8, "little") + b"{}",
        "a header of 2**64 - 1": lambda: b"\xff" * 8 + b"{}",
        "a header of 100 MB and one": lambda: (100_000_001).to_bytes(8, "little") + b"{}",
        "a header beyond the file": lambda: (3).to_bytes(8, "little") + b"{}",
        "100 MB of spaces": lambda: _packed(b"{}" + b" " * 100_000_000),
        "4 MiB of spaces": lambda: _packed(b"{}" + b" " * (4 << 20)),
        "a million arrays": lambda: _packed({str(i): _entry() for i in range(1_000_000)}, four),
        "twenty thousand arrays": lambda: _packed({str(i): _entry() for i in range(20_000)}, four),
        "empty objects": lambda: _packed(b"{" + b",".join(b'"%d":{}' % i for i in range(300_000)) + b"}"),
        "a list": lambda: _packed([]),
        "a text": lambda: _packed("a"),
        "a pickle": lambda: _packed(b"\x80\x04cos\nsystem\n"),
        "metadata": lambda: _packed({"__metadata__": {"format": "pt"}}),
        "a list for an array": lambda: _packed({"a": [1]}),
        "a field more": lambda: _packed({"a": {**_entry(), "more": 1}}, four),
        "a field less": lambda: _packed({"a": {"dtype": "F32", "shape": [1]}}, four),
        "dtype Q99": lambda: _packed({"a": _entry("Q99")}, four),
        "dtype object": lambda: _packed({"a": _entry("O", [1], [0, 8])}, four * 2),
        "dtype of a list": lambda: _packed({"a": _entry([])}, four),
        "dtype BF16": lambda: _packed({"a": _entry("BF16", [2])}, four),
        "a shape of 2**64 values": lambda: _packed({"a": _entry(shape=[2**32, 2**32])}, four),
        "a shape that overflows to 4 bytes": lambda: _packed({"a": _entry(shape=[2**62 + 1, 4])}, four),
        "2**40 rows of nothing": lambda: _packed({"a": _entry(shape=[2**40, 0], offsets=[0, 0])}),
        "2**64 rows of nothing": lambda: _packed({"a": _entry(shape=[2**32, 2**32, 0], offsets=[0, 0])}),
        "10 TB": lambda: _packed({"a": _entry("U8", [10**13], [0, 10**13])}, four),
        "rank 10,000": lambda: _packed({"a": _entry(shape=[1] * 10_000)}, four),
        "rank 33": lambda: _packed({"a": _entry(shape=[1] * 33)}, four),
        "a negative dimension": lambda: _packed({"a": _entry(shape=[-1])}, four),
        "two negative dimensions": lambda: _packed({"a": _entry(shape=[-1, -1])}, four),
        "a true dimension": lambda: _packed({"a": _entry(shape=[True])}, four),
        "a dimension of 1.0": lambda: _packed({"a": _entry(shape=[1.0])}, four),
        "a number for a shape": lambda: _packed({"a": _entry(shape=1)}, four),
        "a negative offset": lambda: _packed({"a": _entry(offsets=[-4, 0])}, four),
        "an end before its begin": lambda: _packed({"a": _entry(offsets=[4, 0])}, four),
        "three offsets": lambda: _packed({"a": _entry(offsets=[0, 2, 4])}, four),
        "offsets of 2**63": lambda: _packed({"a": _entry(offsets=[2**63, 2**63 + 4])}, four),
        "an end beyond the file": lambda: _packed({"a": _entry(shape=[2], offsets=[0, 8])}, four),
        "a byte to spare": lambda: _packed({"a": _entry()}, four + b"\0"),
        "an overlap": lambda: _packed({"a": _entry(), "b": _entry()}, four),
        "half an overlap": lambda: _packed({"a": _entry(), "b": _entry(offsets=[2, 6])}, four + b"\0\0"),
        "a hole": lambda: _packed({"a": _entry(), "b": _entry(offsets=[8, 12])}, four * 3),
        "a hole at the start": lambda: _packed({"a": _entry(offsets=[4, 8])}, four * 2),
        "equal names": lambda: _packed(b'{"a": %s, "a": %s}' % (entry, entry), four),
        "a bool of 2": lambda: _packed({"a": _entry("BOOL", [1], [0, 1])}, b"\2"),
        "a second header": lambda: _packed(b"{}{}", b""),
    }
    for kind, header in headers.items():
        yield Case(f"{kind} as a header", _sealed(ARRAYS, lambda _, header=header: header()), OF_SNAPSHOTS)
        if kind in ("10 TB", "100 MB of spaces", "2**40 rows of nothing"):
            yield Case(f"{kind} as a header, and a manifest that agrees", partial(_agreeing, header), OF_SNAPSHOTS)
    for shape in ([10**13], [2**63], [-1], "x", [1.5], [1] * 40, None):
        yield Case(f"shape {str(shape)[:20]} in the manifest", _in_manifest("arrays", shape), OF_SNAPSHOTS)


def _agreeing(header: Callable[[], bytes], files: Files) -> None:
    data = header()
    files.seal(ARRAYS, data)
    fields = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")].strip())
    table = {name: {"dtype": entry["dtype"], "shape": entry["shape"]} for name, entry in fields.items()}
    files.edit(MANIFEST, lambda manifest: manifest.update(arrays=table))


def _in_manifest(field: str, shape: Any) -> Build:
    return lambda files: files.edit(MANIFEST, lambda m: m[field]["networks/actor/0.bias"].update(shape=shape))


# -- JSON (S06) ------------------------------------------------------------------------------------------------

JSON_BOMBS: dict[str, Callable[[], bytes]] = {
    "200,000 lists deep": lambda: b"[" * 200_000,
    "200,000 objects deep": lambda: b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "900 lists deep": lambda: b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "an integer of 5,000 digits": lambda: b'{"a":' + b"9" * 5_000 + b"}",
    "an integer of a million digits": lambda: b'{"a":' + b"9" * 1_000_000 + b"}",
    "a fraction of a million digits": lambda: b'{"a":1.' + b"9" * 1_000_000 + b"e999}",
    "1e999": lambda: b'{"a": 1e999}',
    "NaN": lambda: b'{"a": NaN}',
    "Infinity": lambda: b'{"a": -Infinity}',
    "equal keys": lambda: b'{"a": 1, "a": 2}',
    "half a surrogate pair": lambda: b'{"a": "\\ud800"}',
    "half a pair in a key": lambda: b'{"\\udfff": 1}',
    "a byte order mark": lambda: b"\xef\xbb\xbf{}",
    "bytes that are no UTF-8": lambda: b'{"a": "\xff\xfe"}',
    "overlong UTF-8": lambda: b'{"a": "\xc0\xaf"}',
    "UTF-16": lambda: '{"a": 1}'.encode("utf-16"),
    "5 MiB of wide text": lambda: b'{"a": "' + "\U0001f600".encode() * (5 << 18) + b'"}',
    "600,000 empty lists": lambda: b'{"a":[' + b"[]," * 600_000 + b"1]}",
    "a long key over many values": lambda: b'{"' + b"k" * 2_000_000 + b'":[' + b"1," * 200_000 + b"1]}",
    "400,000 keys": lambda: b"{" + b",".join(b'"%d":1' % i for i in range(400_000)) + b"}",
    "a million empty objects": lambda: b'{"a":[' + b"{}," * 1_000_000 + b"1]}",
    "a false float": lambda: b'{"a": {"__float__": "1e999"}}',
    "a crowded float": lambda: b'{"a": {"__float__": "nan", "b": 1}}',
    "a float that is a list": lambda: b'{"a": {"__float__": ["nan"]}}',
    "two values": lambda: b"{} {}",
    "a comment": lambda: b"{} // a",
    "a trailing comma": lambda: b'{"a": 1,}',
    "single quotes": lambda: b"{'a': 1}",
    "a list": lambda: b"[]",
    "a text": lambda: b'"a"',
    "null": lambda: b"null",
}


def _json_bombs() -> Iterator[Case]:
    for kind, bomb in JSON_BOMBS.items():
        yield from _everywhere(kind, lambda _, bomb=bomb: bomb(), (STATE, MANIFEST, RUN, METRICS, EVENTS))
        yield Case(f"{kind} as a header's text", _sealed(ARRAYS, lambda _, bomb=bomb: _packed(bomb())), OF_SNAPSHOTS)

    def endless(name: str, n_bytes: int, files: Files) -> None:
        files.put(name, b'{"a": "')
        os.truncate(files.path(name), n_bytes)

    for name in (STATE, MANIFEST, RUN, METRICS, EVENTS):
        yield Case(f"a text of 2 GiB in {name}", partial(endless, name, 2 << 30), REFUSED_BY[name])
    for name in LOGS:
        yield Case(f"a row of 40 MB in {name}", _row_of(name, lambda _: b'"' + b"a" * 40_000_000), REFUSED_BY[name])

    def six_gib(name: str, files: Files) -> None:
        os.truncate(files.path(name), 6 << 30)
        files.edit(MANIFEST, lambda m: [file.update(size=6 << 30) for file in m["files"] if file["name"] == name])

    for name in (ARRAYS, STATE):
        yield Case(f"6 GiB of {name}, and a manifest that agrees", partial(six_gib, name), OF_SNAPSHOTS)


# -- lies (S07) ------------------------------------------------------------------------------------------------

ODD = (-1, 2**63, 1.5, "1", None, [], True, {"__float__": "nan"})


def _lies() -> Iterator[Case]:
    def meta(field: str, value: Any, files: Files) -> None:
        files.edit(MANIFEST, lambda m: m["meta"].update({field: value}))

    harmless = {
        "episode_id": (-1,), "hyperparams_episode_id": (-1,), "score": (1.5,),
        "timestamp": (-1, 2**63, 1.5, ODD[-1]), "hyperparams_timestamp": (-1, 2**63, 1.5, ODD[-1]),
        "kind": (), "run_id": ("1",), "metrics": (), "hyperparams": (), "generation": (),
    }  # fmt: skip
    for field, fine in harmless.items():
        for value in ODD:
            if not any(value is other for other in fine):
                yield Case(f"{field} {value!r} in the manifest", partial(meta, field, value), OF_REGISTRY)
        yield Case(f"no {field} in the manifest", partial(_without_meta, field), OF_REGISTRY)
    yield Case("the kind pickle", partial(meta, "kind", "pickle"), OF_REGISTRY)
    yield Case("the kind opaque for a state", partial(meta, "kind", "opaque"), OF_REGISTRY)
    yield Case("another generation", partial(meta, "generation", 2), OF_REGISTRY)
    yield Case("the score of a text", partial(meta, "score", "NaN"), OF_REGISTRY)

    for field, good in {"format_version": 1, "sequence": None, "run_id": "1", "identity": {}, "summary": {}}.items():
        for value in (*ODD, 10**9 if field == "format_version" else 10**99, 0):
            if type(value) is not type(good):
                yield Case(f"{field} {str(value)[:20]} in run.json", _with(RUN, **{field: value}), REFUSED_BY[RUN])
        yield Case(f"no {field} in run.json", partial(_without, RUN, field), REFUSED_BY[RUN])
    for version in (0, 2, 10**9, -1):
        yield Case(f"format_version {version} in run.json", _with(RUN, format_version=version), REFUSED_BY[RUN])
        yield Case(f"format_version {version} in the manifest", _with(MANIFEST, format_version=version), OF_SNAPSHOTS)
    yield Case("a field more in run.json", _with(RUN, agent_class="subprocess:Popen"), REFUSED_BY[RUN])
    yield Case("a field more in the manifest", _with(MANIFEST, agent_class="subprocess:Popen"), OF_SNAPSHOTS)
    yield Case("a manifest without its hash", partial(_without, MANIFEST, "sha256"), OF_SNAPSHOTS)
    for value in (None, 1.5, "x", "0" * 64):
        yield Case(f"a manifest with the hash {value!r}", partial(_signed, value), OF_SNAPSHOTS)
    for field in ("format_version", "files", "arrays", "meta"):
        yield Case(f"no {field} in the manifest", partial(_without, MANIFEST, field), OF_SNAPSHOTS)
        for value in (None, 1.5, "x"):
            yield Case(f"{field} {value!r} in the manifest", _with(MANIFEST, **{field: value}), OF_SNAPSHOTS)
    yield from _lies_about_files()
    yield from _lies_in_the_state()


def _without_meta(field: str, files: Files) -> None:
    files.edit(MANIFEST, lambda manifest: manifest["meta"].pop(field))


def _signed(value: Any, files: Files) -> None:
    manifest = json.loads(files.path(MANIFEST).read_bytes())
    files.put(MANIFEST, json.dumps({**manifest, "sha256": value}).encode())


def _without(name: str, field: str, files: Files) -> None:
    files.edit(name, lambda value: value.pop(field))


def _lies_about_files() -> Iterator[Case]:
    def first(change: dict[str, Any], files: Files) -> None:
        files.edit(MANIFEST, lambda m: m["files"][0].update(change))

    for field in ("name", "size", "sha256"):
        for value in ODD:
            yield Case(f"{field} {value!r} of a file", partial(first, {field: value}), OF_SNAPSHOTS)
    yield Case("a file twice", lambda f: f.edit(MANIFEST, lambda m: m["files"].append(m["files"][0])), OF_SNAPSHOTS)
    yield Case("no files", _with(MANIFEST, files=[]), OF_SNAPSHOTS)
    yield Case("200,000 files", _with(MANIFEST, files=[0] * 200_000), OF_SNAPSHOTS)
    yield Case("the manifest among its files", partial(first, {"name": MANIFEST}), OF_SNAPSHOTS)


def _lies_in_the_state() -> Iterator[Case]:
    for value in (None, 1, "x", [], {}, {"actor": None}, {"actor": {}, "critic": {}}, {"actor": 1, "critic": 2}):
        change = partial(_in_state, "networks", value)
        yield Case(f"networks {value!r}", change, OF_SNAPSHOTS)
    for value in (None, 1, "x", [], {}, {"type": "Adam"}, {"type": "SGD", "moments": {}},
                  {"type": ["Adam"], "moments": 1},
                  {"type": "Adam", "moments": {"actor.0.weight": 1}}, {"type": "Adam", "moments": {"other": {}}},
                  {"type": "Adam", "moments": {"actor.0.weight": {"exp_avg": "x"}}}):  # fmt: skip
        yield Case(f"optimizer {value!r}", partial(_in_optimizer, value), OF_REGISTRY)
    for value in (None, 1, "x", [], {}, {"other": {"type": "Adam", "moments": {}}}):
        yield Case(f"optimizers {value!r}", partial(_in_state, "optimizers", value), OF_REGISTRY)
    for value in (None, 1, "x", [[1, 2], [3]], {"__array__": "networks/critic/4.weight"}):
        change = partial(_in_network, value)
        yield Case(f"weights {value!r}", change, OF_SNAPSHOTS)

    def other_shape(files: Files) -> None:
        files.edit_arrays(lambda arrays: arrays.update({"networks/actor/0.weight": np.zeros((32, 4), np.float32)}))

    def array_less(files: Files) -> None:
        files.edit_arrays(lambda arrays: arrays.pop("networks/actor/0.weight"))

    yield Case("the weights of another architecture", other_shape, OF_SNAPSHOTS)
    yield Case("an array less", array_less, OF_SNAPSHOTS)
    yield Case("a network more", lambda f: f.edit(STATE, lambda s: s["networks"].update(evil={"w": 1})), OF_SNAPSHOTS)


def _in_optimizer(value: Any, files: Files) -> None:
    files.edit(STATE, lambda state: state["optimizers"].update(optimizer=value))


def _in_state(field: str, value: Any, files: Files) -> None:
    files.edit(STATE, lambda state: state.update({field: value}))


def _in_network(value: Any, files: Files) -> None:
    files.edit(STATE, lambda state: state["networks"]["actor"].update({"0.weight": value}))


# -- weights and hyperparameters as weapons (S08) --------------------------------------------------------------


def _weights() -> Iterator[Case]:
    def poisoned(name: str, value: float, files: Files) -> None:
        def poison(arrays: dict[str, np.ndarray]) -> None:
            (array,) = (array for path, array in arrays.items() if path.endswith(name))
            array.reshape(-1)[-1] = value

        files.edit_arrays(poison)

    for name in ("networks/actor/0.weight", "networks/critic/4.bias", "moments/actor.0.weight/exp_avg",
                 "moments/critic.2.bias/exp_avg_sq"):  # fmt: skip
        for value in (np.nan, np.inf, -np.inf):
            yield Case(f"{value} in {name}", partial(poisoned, name, value), OF_REGISTRY)

    def hyperparam(name: str, value: Any, files: Files) -> None:
        files.edit(MANIFEST, lambda m: m["meta"]["hyperparams"].update({name: value}))

    nan, inf = {"__float__": "nan"}, {"__float__": "inf"}
    absurd = {
        "learning_rate": (-1.0, 0, nan, inf, "x", None, [], True), "gamma": (1.0, 2, -1, nan, "os:system"),
        "clip_ratio": (0.0, -1, inf), "n_epochs": (0, 1.5, -3, nan, inf, "10"), "minibatch_size": (0, -64, 0.5, {}),
        "entropy_coef": (-1, nan), "gae_lambda": (1.1,), "max_grad_norm": (0, inf), "os.system": (1,),
        "\x1b[2J": (1,), "": (1,),
    }  # fmt: skip
    for name, values in absurd.items():
        for value in values:
            yield Case(f"{name!r} of {value!r}", partial(hyperparam, name, value), OF_REGISTRY)


# -- names that look like code (S09, S10) ----------------------------------------------------------------------


def _imports() -> Iterator[Case]:
    def details(change: dict[str, Any], files: Files) -> None:
        files.edit(RUN, lambda record: record["identity"]["details"].update(change))

    env_ids = ("os:system", "subprocess:Popen", "evilmod:X-v0", "evilmod:CartPole-v1", "CartPole-v1:evilmod",
               "evilmod", "evilmod.X", "../evilmod", "", "\x1b[2J", "a\nb", "\u202e", "X" * 100_000, None, 1, [],
               ["CartPole-v1"], {"id": "X-v0", "entry_point": "os:system"})  # fmt: skip
    for env_id in env_ids:
        yield Case(f"environment {str(env_id)[:40]!r}", partial(details, {"env_id": env_id}), ("quick.load",))
    for change in ({"algorithm": "subprocess:Popen"}, {"backend": "os:system"}, {"hidden": [10**9, 10**9]},
                   {"hidden": "64"}, {"agent_class": "evilmod:Agent"}, {"_target_": "os.system"},
                   {"additional_wrappers": [{"entry_point": "evilmod:Wrapper"}]}):  # fmt: skip
        yield Case(f"details with {change!r}", partial(details, change), ("quick.load",))
    for value in (None, "x", [], {}):
        yield Case(f"the seed {value!r}", partial(_in_identity, "seed", value), ("quick.load",))
    for value in (None, 1, "os:system", [], {}):
        yield Case(f"details {value!r}", partial(_in_identity, "details", value), ("quick.load",))


def _in_identity(field: str, value: Any, files: Files) -> None:
    files.edit(RUN, lambda record: record["identity"].update({field: value}))


# -- text that steers a terminal (S14) -------------------------------------------------------------------------

TRICKS = {"a control sequence": "\x1b[2J\x1b]0;owned\x07", "a line break": "a\nCRITICAL b", "right to left": "\u202ea",
          "a carriage return": "ok\rnot", "C1 controls": "\x9b2J", "a bell": "\x07"}  # fmt: skip


def _terminal_tricks() -> Iterator[Case]:
    def planted(name: str, folder: str, files: Files) -> None:
        (files.run / GENERATION / folder / name).write_bytes(b"")

    def planted_pipe(name: str, files: Files) -> None:
        os.mkfifo(files.run / GENERATION / name)

    def kind_of_policy(text: str, files: Files) -> None:
        files.edit(MANIFEST, lambda manifest: manifest["meta"].update(kind=text))

    def dtype(text: str, files: Files) -> None:
        files.seal(ARRAYS, _packed({"a": _entry(text)}, b"1234"))

    for kind, text in TRICKS.items():
        yield Case(f"{kind} in the name of a file", partial(planted, text, ""), OF_SNAPSHOTS)
        yield Case(f"{kind} in the name of a pipe", partial(planted_pipe, text), OF_SNAPSHOTS)
        yield Case(f"{kind} in the name of a generation", partial(_make_folder, f"snapshots/{text}"), OF_REGISTRY)
        yield Case(f"{kind} in the kind of policy", partial(kind_of_policy, text), OF_REGISTRY)
        yield Case(f"{kind} in the name of a dtype", partial(dtype, text), OF_SNAPSHOTS)
        yield Case(f"{kind} in the name of a network", partial(_in_state, "networks", {text: {text: 1}}), OF_SNAPSHOTS)
        yield Case(f"{kind} in the name of an optimizer",
                   partial(_in_optimizer, {"type": text, "moments": {}}), OF_REGISTRY)  # fmt: skip
    yield Case("a name that is no UTF-8", lambda f: os.close(os.open(
        os.fsencode(f.run / GENERATION) + b"/\xff\xfe", os.O_CREAT)), OF_SNAPSHOTS)  # fmt: skip
    yield Case("a pipe whose name is no UTF-8", lambda f: os.mkfifo(
        os.fsencode(f.run / GENERATION) + b"/\xff\xfe"), OF_SNAPSHOTS)  # fmt: skip
