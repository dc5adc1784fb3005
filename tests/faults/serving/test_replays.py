"""Attacks that are known of the libraries below the service, played again."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from forecasting.errors import BundleError, GatecastError
from forecasting.forecaster import Forecaster
from forecasting.prediction.graph import check_graph
from forecasting.prediction.predictor import Predictor
from pipelines.config.file import read_yaml
from pipelines.ingestion import DataConfig, ingest
from serving.errors import RequestError
from serving.security import check_names
from tests.faults.rows import Measure
from tests.faults.serving.champions import KINDS, hostile
from tests.serving.conftest import Caller
from tests.serving.models.test_hostile import external, foreign, rehashed
from tests.serving.models.test_keeper import service
from tests.serving.reading.test_arrow_form import ask, stream
from tests.serving.reading.test_hostile import nulls
from tests.serving.store import Store
from tests.serving.test_forecast import series

RAN: list[str] = []  # what a payload says that it ran


class Payload:
    """Whoever unpickles it has run code of another."""

    def __reduce__(self) -> tuple[Any, ...]:
        return RAN.append, ("a pickle",)


PICKLE = pickle.dumps(Payload())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("replays"))


Attack = Callable[[Caller, Path, Path], None]


def pickled_body(call: Caller, plain: Path, folder: Path) -> None:
    """BentoML's `depends` services take pickled bodies (CVE-2025-27520)."""
    for kind in ("application/vnd.bentoml+pickle", "application/octet-stream"):
        headers = {"content-type": kind, "Payload-Container": "DataContainer"}
        assert call("POST", "/v1/forecast", content=PICKLE, headers=headers).status_code == 415


def address_as_file(call: Caller, plain: Path, folder: Path) -> None:
    """BentoML fetches what an upload's field names (CVE-2025-54381)."""
    form = {"series": (None, "http://169.254.169.254/latest/meta-data")}
    assert call("POST", "/v1/forecast", files=form).status_code == 415


def arrow_extension(call: Caller, plain: Path, folder: Path) -> None:
    """Arrow's Python extension types unpickled their metadata (CVE-2023-47248)."""
    mark = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": PICKLE,
    }
    field = pa.field("id", pa.string(), metadata=mark)
    table = pa.table({"id": ["a"], "start": [0], "y": [[1.0, 2.0]]})
    schema = pa.schema([field, *list(table.schema)[1:]])
    answer = ask(call, stream(pa.Table.from_arrays(table.columns, schema=schema)))
    assert answer.status_code in (400, 422)


def arrow_of_nothing(call: Caller, plain: Path, folder: Path) -> None:
    """576 bytes that claim 2e8 nulls, of which a reader makes gigabytes."""
    assert ask(call, nulls()).status_code in (400, 413)


def bomb(call: Caller, plain: Path, folder: Path) -> None:
    """A body of gzip that is a thousand times as large within."""
    content = gzip.compress(b" " * (200 << 20), 1, mtime=0)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert call("POST", "/v1/forecast", content=content, headers=headers).status_code == 413


def brackets(call: Caller, plain: Path, folder: Path) -> None:
    """Nested JSON that overruns a parser's stack."""
    for content in (b"[" * 1_000_000, b'{"a":' * 500_000):
        headers = {"content-type": "application/json"}
        assert call("POST", "/v1/forecast", content=content, headers=headers).status_code == 400


def rebinding(call: Caller, plain: Path, folder: Path) -> None:
    """A web page's own name, pointed at loopback, reads answers in a browser (MLflow, Jupyter)."""
    # A transport without a socket has no address of arrival: the check is asked itself.
    with pytest.raises(RequestError, match="unknown_host"):
        check_names({"host": "attacker.example"}, "127.0.0.1", call.app.service.settings)


def weights_elsewhere(call: Caller, plain: Path, folder: Path) -> None:
    """ONNX's external data reads any file (CVE-2024-27318)."""
    bundle = rehashed(plain, folder / "bundle", external)
    with pytest.raises(BundleError, match="another file"):
        check_graph(bundle / "model.onnx")


def foreign_operators(call: Caller, plain: Path, folder: Path) -> None:
    """An operator of a library that a session would load."""
    bundle = rehashed(plain, folder / "bundle", foreign)
    with pytest.raises(BundleError, match="operators"):
        check_graph(bundle / "model.onnx")


def pickled_weights(call: Caller, plain: Path, folder: Path) -> None:
    """Weights that are a pickle in a zip, as `torch.load` runs them (CVE-2025-32434)."""
    bundle = folder / "bundle"
    shutil.copytree(plain, bundle)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
    for content in (PICKLE, packed.getvalue()):
        (bundle / "model.safetensors").write_bytes(content)
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["sha256"]["model.safetensors"] = hashlib.sha256(content).hexdigest()
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(GatecastError):
            Forecaster.load(bundle)


def yaml_of_code(call: Caller, plain: Path, folder: Path) -> None:
    """YAML that makes Python objects (CVE-2020-14343)."""
    path = folder / "x.yaml"
    path.write_text("name: !!python/object/apply:os.mkdir ['ran']\n")
    with pytest.raises(GatecastError):
        read_yaml(path)


def archive_of_paths(call: Caller, plain: Path, folder: Path) -> None:
    """A zip whose files lie outside of the folder it is opened in ("zip slip")."""
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("../../escaped.csv", "unique_id,ds,y\na,2024-01-01,1\n")
    with pytest.raises(GatecastError):
        ingest(DataConfig(source=str(folder / "x.zip")))
    assert not (folder.parent.parent / "escaped.csv").exists()


def pickled_table(call: Caller, plain: Path, folder: Path) -> None:
    """A table that pandas would unpickle."""
    (folder / "x.pkl").write_bytes(PICKLE)
    with pytest.raises(GatecastError):
        ingest(DataConfig(source=str(folder / "x.pkl")))


def link_to_device(call: Caller, plain: Path, folder: Path) -> None:
    """An artifact that is a link to what has no end, or to a secret."""
    store = Store(folder / "store")
    kind = "config.json a link to /etc/passwd"
    assert kind in KINDS
    hostile(kind, plain, folder, store, "linked")
    app = service(store, "linked", folder / "home")
    assert "no plain file" in str(app.service.models.keepers["linked"].problem)


ATTACKS: list[Attack] = [
    pickled_body,
    address_as_file,
    arrow_extension,
    arrow_of_nothing,
    bomb,
    brackets,
    rebinding,
    weights_elsewhere,
    foreign_operators,
    pickled_weights,
    yaml_of_code,
    archive_of_paths,
    pickled_table,
    link_to_device,
]


@pytest.mark.slow
@pytest.mark.fault("replays")
def test_known_attacks_are_blocked(
    call: Caller, plain: Path, tmp_path: Path, measure: Measure
) -> None:
    for attack in ATTACKS:
        folder = tmp_path / attack.__name__
        folder.mkdir()
        attack(call, plain, folder)
        assert RAN == [], attack.__name__
    assert len(ATTACKS) >= 12
    measure.says(f"{len(ATTACKS)} of {len(ATTACKS)} blocked", attacks=[a.__name__ for a in ATTACKS])


OPENED: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "pickle.find_class":
        OPENED.append(".".join(map(str, arguments)))
    if _watching and event == "exec" and "mlruns-code" in str(arguments):
        OPENED.append(str(arguments))


@pytest.mark.fault("replays")
def test_no_pickle_is_opened_from_the_registry_to_an_answer(
    registry: Store, plain: Path, tmp_path: Path, measure: Measure
) -> None:
    """Beside a bundle lie a pickle and an `MLmodel` that names code: neither is looked at."""
    global _watching
    bundle = tmp_path / "bundle"
    shutil.copytree(plain, bundle)
    (bundle / "python_model.pkl").write_bytes(PICKLE)
    (bundle / "code").mkdir()
    (bundle / "code" / "evil.py").write_text("raise SystemExit('mlruns-code')\n")
    registry.register("beside", bundle)
    sys.addaudithook(_watch)
    _watching = True
    try:
        app = service(registry, "beside", tmp_path / "home")
        answer = Caller(app).post({"series": [series()]})
        Predictor.load(bundle)
    finally:
        _watching = False
    assert answer.status_code == 200
    assert (OPENED, RAN) == ([], [])
    assert pickle.loads(pickle.dumps(os.getpid())) == os.getpid()
    measure.says("an audit hook sees no pickle between the registry and an answer")
