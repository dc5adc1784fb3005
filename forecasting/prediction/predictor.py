"""`Predictor`: a bundle run by ONNX Runtime, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forecasting import bundle
from forecasting.arrays import Array
from forecasting.config import Schema
from forecasting.copula.dependence import Dependence
from forecasting.copula.learning import USUAL
from forecasting.errors import BundleError
from forecasting.prediction.engine import Engine
from forecasting.prediction.graph import check_graph
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch, named


class Predictor(Engine):
    """A saved forecaster on ONNX Runtime: loads in a moment, needs no torch.

    It can be handed to the workers of a process pool.
    """

    # What is made of so many series stays in a core's cache: a tenth quicker than 1,024.
    chunk = 256

    def __init__(
        self,
        config: Resolved,
        schema: Schema,
        correction: Array | None,
        runner: OnnxNetwork,
        manifest: dict[str, Any],
        single_threaded: OnnxNetwork | None = None,
        threads: int = 1,
        dependence: Dependence = USUAL,
    ) -> None:
        super().__init__(config, schema, correction, runner, single_threaded, threads, dependence)
        self.manifest = manifest
        self._graphs = [graph for graph in (runner, single_threaded) if graph is not None]

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1, trusted: bool = False) -> Predictor:
        """Verify and open a bundle; `BundleError` says what is wrong with it.

        Where ``GATECAST_KEY_RING`` names a ring the bundle must be signed by a key in it, unless
        it is ``trusted``: made here, or checked before.
        """
        manifest = bundle.verify(path, trusted=trusted)
        parts = bundle.read(path)
        graph = check_graph(Path(path) / "model.onnx")
        runner = OnnxNetwork(graph, threads)
        for covariate in parts.schema.covariates:
            if covariate.role not in runner.names:
                raise BundleError(
                    f"{path} asks for the covariate {covariate.name!r}, and its graph reads none "
                    f"of that role ({covariate.role}); fetch the bundle again"
                )
        single = OnnxNetwork(graph, 1) if threads > 1 else None
        return cls(
            parts.config,
            parts.schema,
            parts.correction,
            runner,
            manifest,
            single,
            threads,
            parts.dependence or USUAL,
        )

    def stop(self) -> None:
        """End forecasts under way in other threads, and all to come, with an error.

        A graph that never ends would go on for as long as the process lives.
        """
        for graph in self._graphs:
            graph.stop()


class OnnxNetwork:
    """A graph run by ONNX Runtime; a `Runner` that travels to other processes as its bytes."""

    def __init__(self, graph: bytes, threads: int) -> None:
        import onnxruntime as ort

        self.graph, self.threads = graph, threads
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = ["CPUExecutionProvider"]
        self._session = ort.InferenceSession(graph, options, providers=providers)
        self.names = [i.name for i in self._session.get_inputs()]
        self._running = ort.RunOptions()

    def __call__(self, batch: Batch[Array]) -> tuple[Array, Array, Array]:
        inputs = {name: named(batch)[name] for name in self.names}
        params, level, scale = self._session.run(None, inputs, self._running)
        return params, level, scale

    def stop(self) -> None:
        """End every run, between two operators or two rounds of a loop."""
        self._running.terminate = True

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxNetwork, (self.graph, self.threads)
