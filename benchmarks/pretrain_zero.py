"""The network that forecasts what nobody trained it on: `gatecast-zero`, trained in pieces.

GATECAST_DATA=../data python -m benchmarks.pretrain_zero --state runs/zero --steps 20000
GATECAST_DATA=../data python -m benchmarks.pretrain_zero --state runs/zero --minutes 30
GATECAST_DATA=../data python -m benchmarks.pretrain_zero --state runs/zero --ship runs/zero

The folder holds all there is to know, in safetensors and JSON: broken off anywhere, training goes
on from the newest checkpoint and ends with the same weights, bit for bit, as if it had never
stopped (on the same machine, with as many threads). Nothing but the histories of `--sets` is read.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.zero_corpus import INPUTS, READ, Corpus, Plan
from forecasting.bundle import sha256
from forecasting.errors import DataError, GatecastError
from forecasting.hardware.torch_state import own_randomness
from forecasting.zero.constants import LEAST_SPREAD, LEVELS
from forecasting.zero.network import Shape, ZeroNetwork
from forecasting.zero.predictor import CARD, FORMAT, WEIGHTS
from pipelines.data.datasets import registry

# Values that a patch's history must show to be an origin, and errors beyond so many spreads count
# as that.
# Units of error below this one count as it: what is all but certain is not all there is to learn.
LEAST_SEEN, FARTHEST, LEAST_WEIGHED = 5, 10.0, 0.08
STATE, PARAMETERS, MOMENTS = "state.json", "weights.safetensors", "moments.safetensors"
DATA = "data.json"
KEPT = 2
ABOUT = {
    "what": "Weights of gatecast-zero: forecasts of series that it was not trained on.",
    "made by": "GATECAST_DATA=../data python -m benchmarks.pretrain_zero",
    "data": "Series made by benchmarks/zero_series.py, and the training parts of the sets under "
    "`read`, as they are, pooled over steps and mixed; nothing else. A series in which the test "
    "part of any competition's set of the same kind occurs, up to a factor, is left out.",
    "beware": "Scores on the sets under `read` flatter the network: it has read their histories.",
    "licence": "Weights: that of this repository. M4: published by the organisers for free use, "
    "samples by way of functime (Apache-2.0) and pytsbe (BSD-3-Clause).",
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, from the first step to the last.

    Attributes
    ----------
    steps : of the optimiser in all; warm, fall : shares of them in which the rate rises and falls.
    ema : of the weights that are shipped.
    """

    shape: Shape = field(default_factory=Shape)
    plan: Plan = field(default_factory=Plan)
    steps: int = 20_000
    rate: float = 3e-3
    warm: float = 0.05
    fall: float = 0.35
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Recipe:
        plan = {**content["plan"], "sets": tuple(content["plan"]["sets"])}
        return cls(**{**content, "shape": Shape(**content["shape"]), "plan": Plan(**plan)})

    def rate_at(self, step: int) -> float:
        """Warm-up, a plateau, and a straight fall to nothing."""
        done = step / self.steps
        rising = done / self.warm if self.warm else 1.0
        falling = (1.0 - done) / self.fall if self.fall else 1.0
        return self.rate * min(rising, 1.0, falling)


class Training:
    """A network on its way, and all that its next step depends on."""

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        self.recipe, self.device, self.step, self.points, self.seconds = recipe, device, 0, 0, 0.0
        with own_randomness():
            torch.manual_seed(recipe.seed)
            self.network = ZeroNetwork(recipe.shape).to(device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay,
            fused=device != "cpu",
        )  # fmt: skip
        self.mean = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def learn(self, batch: dict[str, Tensor]) -> Tensor:
        """One step; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate_at(self.step + 1)
        cost = loss(self.network, batch)
        self.optimiser.zero_grad(set_to_none=True)
        cost.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.step += 1
        # Early on the mean must not hold on to the random start.
        keep = min(self.recipe.ema, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            now = self.network.state_dict()
            torch._foreach_lerp_(list(self.mean.values()), list(now.values()), 1.0 - keep)
        return cost.detach()

    def save(self, folder: Path) -> Path:
        """Write a checkpoint: all of it, or nothing; older ones but the last go."""
        final, part = folder / f"step-{self.step:08d}", folder / f".part-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        weights = {f"network.{k}": v.cpu() for k, v in self.network.state_dict().items()}
        weights.update({f"mean.{k}": v.cpu() for k, v in self.mean.items()})
        save_file({k: v.contiguous() for k, v in weights.items()}, part / PARAMETERS)
        moments = {
            f"{name}|{key}": value.detach().cpu().contiguous()
            for name, parameter in self.network.named_parameters()
            for key, value in self.optimiser.state.get(parameter, {}).items()
        }
        save_file(moments, part / MOMENTS)
        content = {
            "step": self.step, "points": self.points, "seconds": round(self.seconds, 1),
            "recipe": asdict(self.recipe), "torch": torch.__version__,
        }  # fmt: skip
        (part / STATE).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        for file in part.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(part, final)
        for old in checkpoints(folder)[:-KEPT]:
            shutil.rmtree(old)
        return final

    @classmethod
    def load(cls, checkpoint: Path, device: str = "cpu") -> Training:
        """As it was when the checkpoint was written."""
        content = json.loads((checkpoint / STATE).read_text("utf-8"))
        training = cls(Recipe.parse(content["recipe"]), device)
        training.step, training.points = content["step"], content["points"]
        training.seconds = content["seconds"]
        weights = load_file(str(checkpoint / PARAMETERS), device=device)
        training.network.load_state_dict(
            {k.removeprefix("network."): v for k, v in weights.items() if k.startswith("network.")}
        )
        # In the network's own order, for the two are stepped through side by side.
        training.mean = {k: weights[f"mean.{k}"] for k in training.mean}
        moments = load_file(str(checkpoint / MOMENTS))
        for name, parameter in training.network.named_parameters():
            own = {k.split("|")[1]: v for k, v in moments.items() if k.split("|")[0] == name}
            if own:
                where = {k: v if k == "step" and device == "cpu" else v.to(device)
                         for k, v in own.items()}  # fmt: skip
                training.optimiser.state[parameter] = where
        return training


def loss(network: ZeroNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Quantile loss after every patch whose history says enough, in units of past errors."""
    inputs = [batch[k] for k in INPUTS]
    said, level, spread, unit = network(*inputs)
    counted = batch["seen"].sum(-1).cumsum(1) >= LEAST_SEEN
    usable = batch["y_seen"] * (counted & (spread > 2.0 * LEAST_SPREAD))[..., None]
    y = (batch["y"] - level[..., None]) / spread[..., None]
    error = y.clamp(-FARTHEST, FARTHEST)[..., None] - said
    usable = usable / unit.clamp_min(LEAST_WEIGHED)[..., None]
    tilt = torch.tensor(LEVELS, dtype=said.dtype, device=said.device) - 0.5
    # max(q e, (q - 1) e) is (q - 1/2) e + |e| / 2.
    each = (error @ tilt + 0.5 * error.abs().sum(-1)) / len(LEVELS)
    return (each * usable).sum() / (usable > 0).sum().clamp_min(1)


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints of a folder, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / STATE).is_file())


def batches(corpus: Corpus, begin: int, end: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """Batches begin..end - 1, made by ``workers`` other processes, or by this one."""
    if not workers:
        for number in range(begin, end):
            yield {k: torch.from_numpy(v) for k, v in corpus[number].items()}
        return
    loader: DataLoader[Any] = DataLoader(
        corpus, batch_size=None, sampler=range(begin, end), num_workers=workers,  # type: ignore
        prefetch_factor=4, pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    yield from loader


def train(
    training: Training,
    corpus: Corpus,
    folder: Path,
    *,
    until: int,
    minutes: float = float("inf"),
    every: float = 3.0,
    workers: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Go on to step ``until``, or for so many minutes; a checkpoint each ``every`` minutes."""
    began = saved = told = time.perf_counter()
    total, count, shown = 0.0, 0, 0
    sum_ = torch.zeros((), device=training.device)
    for batch in batches(corpus, training.step, until, workers):
        shown_now = batch["x"].numel()
        sum_ += training.learn(
            {k: v.to(training.device, non_blocking=True) for k, v in batch.items()}
        )
        count, shown = count + 1, shown + shown_now
        training.points += shown_now
        now = time.perf_counter()
        if now - told > 20.0:
            total = float(sum_) / count
            rate = shown / (now - told) / 1e6
            say(f"step {training.step} of {training.recipe.steps}: loss {total:.4f}, "
                f"{training.points / 1e9:.3f} G points, {rate:.2f} M points/s")  # fmt: skip
            training.seconds += now - told
            told, count, shown = now, 0, 0
            sum_.zero_()
        if now - saved > 60.0 * every:
            training.save(folder)
            saved = now
        if now - began > 60.0 * minutes:
            break
    training.seconds += time.perf_counter() - told
    training.save(folder)


def ending(training: Training, steps: int) -> Recipe:
    """The recipe of a training that is to end at another step: what it has done stays as it was.

    Raises
    ------
    DataError : its rate is not flat where it stands, or would already be falling.
    """
    recipe, changed = training.recipe, replace(training.recipe, steps=steps)
    # The warm-up lasts as long as it did.
    changed = replace(changed, warm=recipe.warm * recipe.steps / steps)
    flat = recipe.rate_at(training.step) == changed.rate_at(training.step) == recipe.rate
    if steps != recipe.steps and not flat:
        raise DataError(
            f"steps = {steps} cannot be the end of a training at step {training.step} of "
            f"{recipe.steps}: its rate must neither have begun to fall nor have to be falling by "
            "now; leave --steps out, or begin anew"
        )
    return recipe if steps == recipe.steps else changed


def ship(checkpoint: Path, folder: Path) -> Path:
    """Write the mean weights of a checkpoint in half precision, and their card."""
    training = Training.load(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS
    save_file({k: v.half().contiguous() for k, v in training.mean.items()}, path)
    told = registry()
    counts = json.loads((checkpoint.parent / DATA).read_text("utf-8"))
    card = {
        "about": ABOUT,
        "format": FORMAT,
        "sha256": sha256(path),
        "parameters": sum(v.numel() for v in training.mean.values()),
        "read": {
            name: {
                **counts[name],
                "files": {f: d for f, d in told[name].files.items() if "test" not in f},
                "cut off": f"the official test part and {training.recipe.plan.held} horizons "
                "before it",
            }
            for name in training.recipe.plan.sets
        },
        "steps": training.step,
        "points": training.points,
        "recipe": asdict(training.recipe),
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", "utf-8")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--steps", type=int, help="in all; may be changed while the rate is flat")
    parser.add_argument(
        "--sets", nargs="*", default=list(READ), help="histories; of a new training"
    )
    parser.add_argument("--hidden", type=int, default=Shape.hidden)
    parser.add_argument("--layers", type=int, default=Shape.layers)
    parser.add_argument("--patches", type=int, default=Plan.patches, help="in a batch")
    parser.add_argument("--rate", type=float, default=Recipe.rate)
    parser.add_argument("--held", type=int, default=0, help="horizons left out before the test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of this piece")
    parser.add_argument("--every", type=float, default=3.0, help="minutes between checkpoints")
    parser.add_argument("--ship", type=Path, help="write weights and card into a folder instead")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    try:
        there = checkpoints(options.state)
        if options.ship:
            if not there:
                raise DataError(f"no checkpoint in {options.state}: train first")
            print(ship(there[-1], options.ship))
            return 0
        training = _going_on(there[-1], options) if there else _begun(options)
        corpus = Corpus(training.recipe.plan)
        options.state.mkdir(parents=True, exist_ok=True)
        (options.state / DATA).write_text(json.dumps(corpus.counts, indent=1) + "\n")
        train(
            training, corpus, options.state, until=training.recipe.steps, minutes=options.minutes,
            every=options.every, workers=options.workers,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
    except GatecastError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"step {training.step} of {training.recipe.steps}", flush=True)
    return 0


def _going_on(checkpoint: Path, options: argparse.Namespace) -> Training:
    training = Training.load(checkpoint, options.device)
    if options.steps:
        training.recipe = ending(training, options.steps)
    print(f"going on from step {training.step} of {training.recipe.steps}", flush=True)
    return training


def _begun(options: argparse.Namespace) -> Training:
    strange = [name for name in options.sets if name not in READ]
    if strange:
        raise DataError(f"{strange[0]} may not be read; known: {', '.join(READ)}")
    plan = Plan(
        sets=tuple(options.sets), patches=options.patches, held=options.held, seed=options.seed
    )
    shape = Shape(options.hidden, options.layers)
    recipe = Recipe(
        shape=shape, plan=plan, steps=options.steps or Recipe.steps, rate=options.rate,
        seed=options.seed,
    )  # fmt: skip
    return Training(recipe, options.device)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    sys.exit(main())
