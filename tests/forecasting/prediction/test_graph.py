"""Graphs are refused by what ONNX's own parser would find in them, however they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from forecasting.errors import BundleError
from forecasting.prediction.graph import DOMAINS, MAX_VALUES, check_graph

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
BIG = [1 << 15, 1 << 15]


def small(*nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """A graph with whole numbers as constants."""
    tensors = [numpy_helper.from_array(np.asarray(v, np.int64), k) for k, v in constants.items()]
    nested = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", FLOAT, [1], [2]))],
        "inner", [], [helper.make_tensor_value_info("c", FLOAT, [1])],
    )  # fmt: skip
    branch = helper.make_node("If", ["flag"], ["d"], then_branch=nested, else_branch=nested)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [*nodes, branch, add], "g",
        [helper.make_tensor_value_info("x", FLOAT, [2]),
         helper.make_tensor_value_info("flag", BOOL, [])],
        [helper.make_tensor_value_info("y", FLOAT, [2])],
        [*tensors, helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def written(folder: Path, model: onnx.ModelProto | bytes) -> Path:
    path = folder / "x.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def test_honest_graphs_pass_and_come_back_as_they_are(tmp_path: Path) -> None:
    for path in [*BUNDLES.glob("*/model.onnx"), written(tmp_path, small())]:
        assert check_graph(path) == path.read_bytes()


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from tensors(inner)


def harmful(model: onnx.ModelProto) -> bool:
    """The slow twin: what ONNX's parser finds, looked through object by object."""
    return (
        bool(model.functions)
        or any(o.domain not in DOMAINS for o in model.opset_import)
        or any(n.domain not in DOMAINS for n in nodes(model.graph))
        or any(t.external_data or t.data_location for t in tensors(model.graph))
        or bool(model.graph.sparse_initializer)
    )


def external(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil.ops"


def inside(model: onnx.ModelProto) -> None:
    branch = next(n for n in model.graph.node if n.op_type == "If")
    branch.attribute[0].g.node[0].domain = "evil.ops"


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("own", "f", [], [], [], []))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    change=st.sampled_from([lambda model: None, external, foreign, inside, function]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), max_size=4),
    cut=st.none() | st.integers(0, 10**6),
)
@example(change=external, flips=[], cut=None)
@example(change=foreign, flips=[], cut=None)
@example(change=inside, flips=[], cut=None)
@example(change=function, flips=[], cut=None)
def test_whatever_passes_holds_nothing_harmful_for_the_parser_either(
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], None],
    flips: list[tuple[int, int]],
    cut: int | None,
) -> None:
    model = small()
    change(model)
    data = bytearray(model.SerializeToString())
    for at, bit in flips:
        data[at % len(data)] ^= 1 << bit
    content = bytes(data[: None if cut is None else cut % len(data)])
    try:
        check_graph(written(tmp_path, content))
    except BundleError:
        return
    assert change is not external or flips or cut is not None
    try:
        parsed = onnx.load_from_string(content)
    except Exception:
        return  # nobody opens it
    assert not harmful(parsed)


def test_a_field_whose_number_a_parser_would_cut_short_is_refused(tmp_path: Path) -> None:
    """Five bytes of a number hold 35 bits: the parser takes the lower 32 of them."""
    own = small()
    function(own)
    tag = (25 << 3 | 2) | 1 << 32
    hidden = bytearray()
    while tag:
        hidden.append(tag & 0x7F | (0x80 if tag >> 7 else 0))
        tag >>= 7
    body = own.functions[0].SerializeToString()
    content = small().SerializeToString() + bytes(hidden) + bytes([len(body)]) + body
    with pytest.raises(BundleError, match="too long"):
        check_graph(written(tmp_path, content))


def drawn(kind: str) -> onnx.ModelProto:
    return small(helper.make_node(kind, [], ["r"], shape=BIG))


BOMBS = {
    "a constant": small(helper.make_node("ConstantOfShape", ["s"], ["r"]), s=BIG),
    "expanded": small(helper.make_node("Expand", ["w", "s"], ["r"]), s=BIG),
    "tiled": small(helper.make_node("Tile", ["w", "s"], ["r"]), s=[1 << 30]),
    "counted": small(helper.make_node("Range", ["a", "b", "c"], ["r"]), a=0, b=1 << 40, c=1),
    "counted down": small(helper.make_node("Range", ["a", "b", "c"], ["r"]), a=1 << 40, b=0, c=-1),
    "drawn": drawn("RandomNormal"),
    "drawn evenly": drawn("RandomUniform"),
    "by a node": small(
        helper.make_node("Constant", [], ["s"], value_ints=BIG),
        helper.make_node("ConstantOfShape", ["s"], ["r"]),
    ),
    "by a node's tensor": small(
        helper.make_node("Constant", [], ["s"], value=helper.make_tensor("s", INT64, [2], BIG)),
        helper.make_node("ConstantOfShape", ["s"], ["r"]),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_operator_that_fills_memory_by_a_constant_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="values at once"):
        check_graph(written(tmp_path, BOMBS[name]))


def test_shapes_of_a_subgraph_may_stand_outside_it(tmp_path: Path) -> None:
    model = small(s=BIG)
    branch = next(n for n in model.graph.node if n.op_type == "If")
    branch.attribute[0].g.node.append(helper.make_node("ConstantOfShape", ["s"], ["r"]))
    with pytest.raises(BundleError, match="values at once"):
        check_graph(written(tmp_path, model))


@pytest.mark.parametrize("shape", [[1 << 14, 1 << 14], [0, 1 << 40], [], [-1, 3], [1]])
def test_shapes_that_fit_pass(shape: list[int], tmp_path: Path) -> None:
    assert np.prod([abs(s) for s in shape], dtype=object) <= MAX_VALUES
    model = small(helper.make_node("ConstantOfShape", ["s"], ["r"]), s=shape)
    assert check_graph(written(tmp_path, model))


def test_large_whole_numbers_that_are_no_shape_pass(tmp_path: Path) -> None:
    values = np.arange(-5000, 5000) * (1 << 40)
    model = small(t=values)
    model.graph.initializer.append(helper.make_tensor("u", INT64, [len(values)], values.tolist()))
    assert check_graph(written(tmp_path, model))


def test_two_tensors_in_one_attribute_are_refused(tmp_path: Path) -> None:
    value = helper.make_tensor("c", FLOAT, [1], [2])
    model = small(helper.make_node("Constant", [], ["c"], value=value))
    attribute = model.graph.node[0].attribute[0]
    twice = attribute.SerializeToString() + b"\x2a\x00"
    graph = b"\x0a" + _sized(_node(twice)) + model.graph.SerializeToString()
    content = b"\x3a" + _sized(graph)
    onnx.load_from_string(content)
    with pytest.raises(BundleError, match="twice"):
        check_graph(written(tmp_path, content))


def _node(attribute: bytes) -> bytes:
    return b"\x22\x08Constant" + b"\x2a" + _sized(attribute)


def _sized(data: bytes) -> bytes:
    size, prefix = len(data), bytearray()
    while True:
        prefix.append(size & 0x7F | (0x80 if size >> 7 else 0))
        size >>= 7
        if not size:
            return bytes(prefix) + data
