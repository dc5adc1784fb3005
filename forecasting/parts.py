"""What settings must know of a network's parts, by their names and without torch.

The parts themselves bear the same names in the tables `networks.recurrent.LAYERS`,
`networks.decoders.DECODERS` and `classical.pool.MEMBERS`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CellFacts:
    """A recurrent cell.

    Attributes
    ----------
    gates : in the order of its weights' rows, the candidate of a new state among them.
    memory : the gate that keeps a share of the old state; None for none.
    states : tensors that it hands on: (h,), or (h, c).
    both_ways : whether it can read a window backwards too.
    """

    gates: tuple[str, ...]
    memory: str | None = None
    states: int = 1
    both_ways: bool = True


@dataclass(frozen=True)
class DecoderFacts:
    """A decoder.

    Attributes
    ----------
    feeds_back : it covers one step, and paths drawn from its forecasts make the others.
    takes_states : it goes on from the final states, so it is asked for one origin at a time.
    """

    feeds_back: bool = False
    takes_states: bool = False


@dataclass(frozen=True)
class ClassicalFacts:
    """A classical forecast. ``seasonal`` : of use only where a season can be smoothed."""

    seasonal: bool = False


_LSTM = ("input", "forget", "candidate", "output")
CELLS: dict[str, CellFacts] = {
    "lstm": CellFacts(_LSTM, memory="forget", states=2),
    "gru": CellFacts(("reset", "update", "candidate"), memory="update"),
    "layer_norm_lstm": CellFacts(_LSTM, memory="forget", states=2, both_ways=False),
    "rnn": CellFacts(("candidate",)),
}
DECODERS: dict[str, DecoderFacts] = {
    "direct": DecoderFacts(),
    "encoder_decoder": DecoderFacts(takes_states=True),
    "recursive": DecoderFacts(feeds_back=True),
}
CLASSICAL: dict[str, ClassicalFacts] = {
    "theta": ClassicalFacts(),
    "damped": ClassicalFacts(),
    "seasonal": ClassicalFacts(seasonal=True),
    "drift": ClassicalFacts(),
}
