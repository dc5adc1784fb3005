"""`Predictor`: a bundle run by ONNX Runtime, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecasting.arrays import Array
from forecasting.config import ForecasterConfig, Schema
from forecasting.prediction.engine import Engine, Runner


class Predictor(Engine):
    """A saved forecaster on ONNX Runtime: loads in a moment, needs no torch."""

    def __init__(
        self,
        config: ForecasterConfig,
        schema: Schema,
        correction: Array | None,
        runner: Runner,
        manifest: dict[str, Any],
        alone: Runner | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(config, schema, correction, runner, alone, threads)
        self.manifest = manifest

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1) -> Predictor:
        """Verify and open a bundle; `BundleError` says what is wrong with it."""
        from forecasting import bundle

        manifest = bundle.verify(path)
        parts = bundle.read(path)
        network = Path(path) / "model.onnx"
        runner = _onnx_runner(network, threads)
        alone = _onnx_runner(network, 1) if threads > 1 else None
        return cls(parts.config, parts.schema, parts.correction, runner, manifest, alone, threads)


def _onnx_runner(path: Path, threads: int) -> Runner:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run(batch: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        params, level, scale = session.run(None, {name: batch[name] for name in names})
        return params, level, scale

    return run
