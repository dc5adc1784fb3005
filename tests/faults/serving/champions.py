"""New champions that must not answer: wrong bundles, hostile graphs, versions that are none."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests.serving.models import test_hostile as graphs
from tests.serving.store import Store

Harm = Callable[[Path], None]
FILES = ("model.onnx", "config.json", "model.safetensors", "manifest.json")
KINDS: dict[str, tuple[Harm, bool]] = {}  # what it does, and whether the hashes are made right


def _kind(name: str, harm: Harm, *, rehashed: bool = True) -> None:
    KINDS[name] = (harm, rehashed)


def _write(file: str, content: bytes) -> Harm:
    return lambda bundle: (bundle / file).write_bytes(content) and None


def _cut(file: str) -> Harm:
    def harm(bundle: Path) -> None:
        content = (bundle / file).read_bytes()
        (bundle / file).write_bytes(content[: len(content) // 2])

    return harm


def _flip(file: str) -> Harm:
    def harm(bundle: Path) -> None:
        content = bytearray((bundle / file).read_bytes())
        # Early in a manifest stand the hashes; further on words that may be any.
        content[200 if file == "manifest.json" else len(content) // 3] ^= 4
        (bundle / file).write_bytes(content)

    return harm


def _json(file: str, change: Callable[[Any], Any]) -> Harm:
    def harm(bundle: Path) -> None:
        content = json.loads((bundle / file).read_text())
        changed = change(content)
        (bundle / file).write_text(json.dumps(content if changed is None else changed))

    return harm


def _config(**change: Any) -> Harm:
    return _json("config.json", lambda content: content["config"].update(change))


def _golden(change: Callable[[Any], Any]) -> Harm:
    return _json("manifest.json", lambda content: change(content["golden"]))


def _graph(change: Callable[[onnx.ModelProto], Any]) -> Harm:
    def harm(bundle: Path) -> None:
        model = onnx.load(bundle / "model.onnx")
        change(model)
        (bundle / "model.onnx").write_bytes(model.SerializeToString())

    return harm


def _weights(change: Callable[[np.ndarray], np.ndarray]) -> Harm:
    def every(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.dtype == np.float32 and value.size > 8:
                tensor.CopyFrom(numpy_helper.from_array(change(value.copy()), tensor.name))

    return _graph(every)


def _link(file: str, to: str) -> Harm:
    def harm(bundle: Path) -> None:
        (bundle / file).unlink()
        (bundle / file).symlink_to(to)

    return harm


def _special(file: str, make: Callable[[Path], None]) -> Harm:
    def harm(bundle: Path) -> None:
        (bundle / file).unlink()
        make(bundle / file)

    return harm


for one in FILES:
    _kind(f"no {one}", lambda bundle, one=one: (bundle / one).unlink(), rehashed=False)
    _kind(f"{one} empty", _write(one, b""), rehashed=False)
    _kind(f"{one} cut off", _cut(one), rehashed=False)
    _kind(f"a bit of {one} flipped", _flip(one), rehashed=False)
    _kind(f"{one} a folder", _special(one, Path.mkdir), rehashed=False)
for one in FILES[:2]:
    _kind(f"{one} a pipe", _special(one, os.mkfifo), rehashed=False)
    _kind(f"{one} a link to /dev/zero", _link(one, "/dev/zero"), rehashed=False)
    _kind(f"{one} a link to /etc/passwd", _link(one, "/etc/passwd"), rehashed=False)
    _kind(f"{one} noise, hashed anew", _write(one, os.urandom(4096)))
    _kind(f"{one} brackets without end, hashed anew", _write(one, b"[" * 400_000))
for change in graphs.HOSTILE:
    _kind(f"graph: {change.__name__}", _graph(change))
_kind("graph: without end", _graph(graphs.without_end))
_kind("graph: output renamed", _graph(lambda m: setattr(m.graph.output[0], "name", "other")))
_kind("graph: no input", _graph(lambda m: m.graph.ClearField("input")))
_kind("graph: no operators", _graph(lambda m: m.graph.ClearField("node")))
_kind("graph: a version to come", _graph(lambda m: setattr(m.opset_import[0], "version", 9999)))
_kind("graph: weights 0", _weights(np.zeros_like))
_kind("graph: weights NaN", _weights(lambda w: np.full_like(w, np.nan)))
_kind("graph: weights infinite", _weights(lambda w: np.full_like(w, np.inf)))
_kind("graph: weights a thousandth off", _weights(lambda w: w * 1.05))
_kind("config: horizon 0", _config(horizon=0))
_kind("config: horizon 7", _config(horizon=7))
_kind("config: horizon 10^9", _config(horizon=10**9))
_kind("config: no such freq", _config(freq="fortnight"))
_kind("config: unknown key", _config(run="rm -rf /"))
_kind("config: a list", _json("config.json", lambda _: []))
_kind("config: no schema", _json("config.json", lambda c: c.pop("schema") and None))
_kind("config: correction of another shape", _json("config.json", lambda c: c.update(
    correction=[[0.0]])))  # fmt: skip
_kind("config: correction NaN", _json("config.json", lambda c: c.update(
    correction=[[float("nan")] * len(c["config"]["model"]["quantile_levels"])]
    * c["config"]["horizon"])))  # fmt: skip
_kind("config: an extra covariate", _json("config.json", lambda c: c["schema"].update(
    covariates=[{"name": "x", "role": "past"}])))  # fmt: skip
_kind("config: levels in disorder", _json("config.json", lambda c: c["config"]["model"].update(
    quantile_levels=[0.9, 0.5, 0.1])))  # fmt: skip
_kind("manifest: no JSON", _write("manifest.json", b"\x80\x04K\x01."), rehashed=False)
_kind("manifest: a list", _json("manifest.json", lambda _: []), rehashed=False)
_kind("manifest: format 99", _json("manifest.json", lambda c: c.update(format_version=99)))
_kind("manifest: format 0", _json("manifest.json", lambda c: c.update(format_version=0)))
_kind("manifest: no hashes", _json("manifest.json", lambda c: c.update(sha256={})), rehashed=False)
_kind("golden: none", _json("manifest.json", lambda c: c.pop("golden") and None))
_kind("golden: another mean", _golden(lambda g: g.update(mean=[v + 1 for v in g["mean"]])))
_kind("golden: NaN", _golden(lambda g: g.update(mean=[float("nan")] * len(g["mean"]))))
_kind("golden: a step less", _golden(lambda g: g.update(mean=g["mean"][:-1])))
_kind("golden: text", _golden(lambda g: g.update(mean="x")))
_kind("golden: levels beyond 1", _golden(lambda g: g.update(levels=[7.0])))
_kind("golden: a list", _json("manifest.json", lambda c: c.update(golden=[1, 2])))

# Wrong is not the bundle, but what the registry says of it.
TAGS: Mapping[str, str] = {
    "version: never finished": "",
    "version: a hash that is none": "../../x",
    "version: the hash of another": "0" * 64,
}
ALL = (*KINDS, *TAGS, "version: its files are gone")


def hostile(kind: str, good: Path, folder: Path, store: Store, model: str) -> int:
    """Register a champion of one kind; its version."""
    bundle = folder / "bundle"
    shutil.copytree(good, bundle)
    harm, rehashed = KINDS.get(kind, (lambda _: None, False))
    # A registry would take neither links nor pipes: they are put where the files lie.
    version = store.register(model, bundle, alias=None)
    where = Path(str(store.client.get_model_version(model, str(version)).source).removeprefix(
        "file://"))  # fmt: skip
    harm(where)
    manifest = where / "manifest.json"
    if rehashed:
        content = json.loads(manifest.read_text())
        content["sha256"] = {
            name: hashlib.sha256((where / name).read_bytes()).hexdigest() for name in FILES[:3]
        }
        manifest.write_text(json.dumps(content))
    if kind in KINDS and manifest.is_file():
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        store.client.set_model_version_tag(model, str(version), "bundle_sha256", digest)
    if kind in TAGS:
        store.client.delete_model_version_tag(model, str(version), "bundle_sha256")
        if TAGS[kind]:
            store.client.set_model_version_tag(model, str(version), "bundle_sha256", TAGS[kind])
    if kind == ALL[-1]:
        shutil.rmtree(where)
    store.alias(model, version)
    return version
