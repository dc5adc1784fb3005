"""`Predictor`: a bundle run by ONNX Runtime, without torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from forecasting import bundle
from forecasting.arrays import Array
from forecasting.copula.dependence import Dependence
from forecasting.copula.learning import USUAL
from forecasting.errors import BundleError
from forecasting.prediction.answers import Answers
from forecasting.prediction.graph import check_graph
from forecasting.prediction.why.member import Member
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.windows.batch import Batch, named


class Predictor(Answers):
    """A saved forecaster on ONNX Runtime: loads in a moment, needs no torch.

    It can be handed to the workers of a process pool.
    """

    # What is made of so many series stays in a core's cache, and a few hundred of them have work
    # for several threads.
    chunk = 128

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
        # What a bundle says of its networks; None where there was none.
        self.weights: Weights | None = None
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
        predictor = cls(
            parts.config,
            parts.schema,
            parts.correction,
            runner,
            manifest,
            single,
            threads,
            parts.dependence or USUAL,
        )
        predictor.weights = Weights(Path(path), manifest, parts)
        return predictor

    def members(self) -> list[Member]:
        """The networks of the bundle, read from its weights when first asked for."""
        if self.weights is None:
            raise BundleError("this predictor was not loaded from a bundle: it has no weights")
        return self.weights.members

    def stop(self) -> None:
        """End forecasts under way in other threads, and all to come, with an error.

        A graph that never ends would go on for as long as the process lives.
        """
        for graph in self._graphs:
            graph.stop()


class Weights:
    """The networks' weights of a bundle, which forecasts do not need: read when first asked for."""

    def __init__(self, folder: Path, manifest: dict[str, Any], parts: bundle.Parts) -> None:
        self.folder, self.manifest, self.parts = folder, manifest, parts

    @cached_property
    def members(self) -> list[Member]:
        """One per network.

        Raises
        ------
        BundleError : the file has changed, or is gone, since the bundle was opened.
        """
        file = self.folder / "model.safetensors"
        if not file.is_file() or bundle.sha256(file) != self.manifest["sha256"][file.name]:
            raise BundleError(f"{file} has changed since it was opened; fetch the bundle again")
        tensors = load_file(str(file))
        config, schema = self.parts.config, self.parts.schema
        return [
            Member(
                config,
                schema,
                {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{m}.")},
                cell,
            )
            for m, cell in enumerate(self.parts.cells)
        ]


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
