"""ONNX graphs of fitted classifiers: float32 z-scores in, double-precision probability out, equal bytes for equal models.

Linear models and networks are skl2onnx's double-precision graphs, and onnxmltools reads the trees of XGBoost and LightGBM.
Support vector machines and sums of trees are written out, because the operators converters use for them work in float32:
they were off by up to 2e-6 in probability, and near 0 and 1 less than that already moves the logit in the nomogram.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType

from nodogram.dlr import INPUT, OUTPUT

OPSET = 18
# TreeEnsembleClassifier, which converters write, ends at 3; TreeEnsemble, which can sum in double, begins at 5.
CLASSIFIER_OPSET = 3
TREE_OPSET = 5
TOOLS_OPSET = 15
IR_VERSION = 10

# TreeEnsemble's codes (ONNX operator ai.onnx.ml.TreeEnsemble-5).
BRANCH_LEQ = 0
BRANCH_LT = 1
AGGREGATE_SUM = 1
TRANSFORM_NONE = 0

Constants = dict[str, NDArray[Any]]


def classifier_graph(name: str, estimator: Any, feature_count: int) -> ModelProto:
    """Return the checked graph of a fitted algorithm.

    Parameters
    ----------
    name
        One of the seven.
    estimator
        As fitted by :func:`training.classifiers.fit_classifier`.
    feature_count
        Number of z-scores it takes.

    Returns
    -------
    model : ModelProto
        Input ``features`` float32 (batch, feature_count), output ``probability`` float64 (batch,).
    """
    return _BUILDERS[name](estimator, feature_count)


def _smooth(estimator: Any, feature_count: int) -> ModelProto:
    converted = to_onnx(
        estimator,
        initial_types=[("z", DoubleTensorType([None, feature_count]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": CLASSIFIER_OPSET},
    )
    nodes = [
        helper.make_node("Cast", [INPUT], ["z"], to=TensorProto.DOUBLE),
        *_needed(converted, "probabilities"),
        helper.make_node("Gather", ["probabilities", "column"], [OUTPUT], axis=1),
    ]
    return _model(nodes, {**_constants(converted), "column": np.array(1)}, feature_count)


def _support_vectors(estimator: Any, feature_count: int) -> ModelProto:
    """Kernel machine with Platt scaling; the slope is folded into the dual coefficients."""
    calibrated = estimator.calibrated_classifiers_[0]
    machine, scaling = calibrated.estimator, calibrated.calibrators[0]
    offset = np.array([-scaling.a_ * machine.intercept_[0] - scaling.b_])
    nodes = [helper.make_node("Cast", [INPUT], ["z"], to=TensorProto.DOUBLE)]
    if machine.kernel == "linear":
        constants: Constants = {"weight": -scaling.a_ * machine.coef_, "offset": offset}
        nodes.append(helper.make_node("Gemm", ["z", "weight", "offset"], ["linear"], transB=1))
    else:
        vectors = machine.support_vectors_
        constants = {
            "vectors": vectors,
            "squares": (vectors**2).sum(axis=1),
            "axis": np.array([1]),
            "minus_gamma": np.array(-machine._gamma),
            "weight": -scaling.a_ * machine.dual_coef_,
            "offset": offset,
        }
        nodes += [
            helper.make_node("ReduceSumSquare", ["z", "axis"], ["length"]),
            helper.make_node("Gemm", ["z", "vectors", "squares"], ["products"], alpha=-2.0, transB=1),
            helper.make_node("Add", ["products", "length"], ["distance"]),
            helper.make_node("Mul", ["distance", "minus_gamma"], ["exponent"]),
            helper.make_node("Exp", ["exponent"], ["kernel"]),
            helper.make_node("Gemm", ["kernel", "weight", "offset"], ["linear"], transB=1),
        ]
    nodes += [helper.make_node("Sigmoid", ["linear"], ["column"]), helper.make_node("Reshape", ["column", "flat"], [OUTPUT])]
    return _model(nodes, {**constants, "flat": np.array([-1])}, feature_count)


@dataclass(frozen=True, eq=False)
class _Tree:
    """One binary tree by node, root first: children (negative at a leaf), feature, threshold, value of a leaf."""

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]


def _forest(estimator: Any, feature_count: int) -> ModelProto:
    """Mean over trees of the share of outcome 1 in the leaf."""
    fitted = [tree.tree_ for tree in estimator.estimators_]
    shares = [tree.value[:, 0, 1] / tree.value[:, 0, :].sum(axis=1) / len(fitted) for tree in fitted]
    trees = [
        _Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, share)
        for tree, share in zip(fitted, shares, strict=True)
    ]
    nodes = [
        helper.make_node("Cast", [INPUT], ["z"], to=TensorProto.DOUBLE),
        _ensemble(trees, BRANCH_LEQ),
        helper.make_node("Reshape", ["sum", "flat"], [OUTPUT]),
    ]
    return _model(nodes, {"flat": np.array([-1])}, feature_count, tree_opset=TREE_OPSET)


def _xgboost(estimator: Any, feature_count: int) -> ModelProto:
    types = [(INPUT, FloatTensorType([None, feature_count]))]
    return _boosted(convert_xgboost(estimator, initial_types=types, target_opset=TOOLS_OPSET), feature_count)


def _lightgbm(estimator: Any, feature_count: int) -> ModelProto:
    types = [(INPUT, FloatTensorType([None, feature_count]))]
    return _boosted(convert_lightgbm(estimator, initial_types=types, target_opset=TOOLS_OPSET, zipmap=False), feature_count)


def _boosted(converted: ModelProto, feature_count: int) -> ModelProto:
    """Take the trees out of the converter's graph; sum the margin and apply the logistic function in double."""
    node = next(n for n in converted.graph.node if n.op_type == "TreeEnsembleClassifier")
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    modes = set(found["nodes_modes"]) - {b"LEAF"}
    if found["post_transform"] != b"LOGISTIC" or not modes <= {b"BRANCH_LEQ", b"BRANCH_LT"} or len(modes) != 1:
        raise ValueError(f"trees with {modes} and {found['post_transform']!r}; one comparison and LOGISTIC are required")
    nodes = [
        helper.make_node("Cast", [INPUT], ["z"], to=TensorProto.DOUBLE),
        _ensemble(_converted_trees(found), BRANCH_LT if modes == {b"BRANCH_LT"} else BRANCH_LEQ),
        helper.make_node("Add", ["sum", "base"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], [OUTPUT]),
    ]
    base = np.array(found.get("base_values", [0.0]), dtype=np.float64)
    return _model(nodes, {"base": base, "flat": np.array([-1])}, feature_count, tree_opset=TREE_OPSET)


def _converted_trees(found: dict[str, Any]) -> list[_Tree]:
    """Regroup the flat arrays of a TreeEnsembleClassifier by tree; nodes of a tree are numbered from 0 without gaps."""
    owner, number = np.array(found["nodes_treeids"]), np.array(found["nodes_nodeids"])
    leaf_owner, leaf_number = np.array(found["class_treeids"]), np.array(found["class_nodeids"])
    weights = np.array(found["class_weights"], dtype=np.float64)
    is_leaf = np.array([mode == b"LEAF" for mode in found["nodes_modes"]])
    trees = []
    for tree in np.unique(owner):
        rows = np.flatnonzero(owner == tree)
        rows = rows[np.argsort(number[rows])]
        value = np.zeros(len(rows))
        value[leaf_number[leaf_owner == tree]] = weights[leaf_owner == tree]
        trees.append(
            _Tree(
                left=np.where(is_leaf[rows], -1, np.array(found["nodes_truenodeids"])[rows]),
                right=np.where(is_leaf[rows], -1, np.array(found["nodes_falsenodeids"])[rows]),
                feature=np.array(found["nodes_featureids"])[rows],
                threshold=np.array(found["nodes_values"], dtype=np.float64)[rows],
                value=value,
            )
        )
    return trees


def _ensemble(trees: Sequence[_Tree], mode: int) -> NodeProto:
    """Return the node that sums one leaf per tree in double: ``z`` (batch, k) to ``sum`` (batch, 1)."""
    columns: dict[str, list[NDArray[Any]]] = {}
    roots, node_count, leaf_count = [], 0, 0
    for tree in trees:
        arrays = _tree_arrays(tree, node_count, leaf_count)
        for key, values in arrays.items():
            columns.setdefault(key, []).append(values)
        roots.append(node_count)
        node_count += len(arrays["nodes_splits"])
        leaf_count += len(arrays["leaf_weights"])
    joined = {key: np.concatenate(values) for key, values in columns.items()}
    node = helper.make_node(
        "TreeEnsemble",
        ["z"],
        ["sum"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=AGGREGATE_SUM,
        post_transform=TRANSFORM_NONE,
        tree_roots=roots,
        nodes_splits=numpy_helper.from_array(joined["nodes_splits"], "splits"),
        nodes_modes=numpy_helper.from_array(np.full(node_count, mode, dtype=np.uint8), "modes"),
        leaf_weights=numpy_helper.from_array(joined["leaf_weights"], "weights"),
        leaf_targetids=[0] * leaf_count,
    )
    for key in ("nodes_featureids", "nodes_truenodeids", "nodes_trueleafs", "nodes_falsenodeids", "nodes_falseleafs"):
        node.attribute.append(helper.make_attribute(key, [int(v) for v in joined[key]]))
    return node


def _tree_arrays(tree: _Tree, node_start: int, leaf_start: int) -> Constants:
    """Return one tree as TreeEnsemble arrays, inner nodes and leaves numbered from the given starts."""
    is_leaf = tree.left < 0
    number = np.where(is_leaf, leaf_start + np.cumsum(is_leaf) - 1, node_start + np.cumsum(~is_leaf) - 1)
    inner = np.flatnonzero(~is_leaf)
    left, right = tree.left[inner], tree.right[inner]
    feature, threshold = tree.feature[inner], tree.threshold[inner]
    if not len(inner):
        # A tree that is only a leaf is written as a split whose sides are the same.
        left = right = feature = np.array([0])
        threshold = np.array([0.0])
    return {
        "nodes_featureids": feature,
        "nodes_splits": threshold,
        "nodes_truenodeids": number[left],
        "nodes_trueleafs": is_leaf[left],
        "nodes_falsenodeids": number[right],
        "nodes_falseleafs": is_leaf[right],
        "leaf_weights": tree.value[is_leaf],
    }


def _constants(converted: ModelProto) -> Constants:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in converted.graph.initializer}


def _needed(converted: ModelProto, last: str) -> list[NodeProto]:
    """Return the nodes that ``last`` depends on, in order."""
    wanted = {last}
    kept: list[NodeProto] = []
    for node in reversed(converted.graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _model(
    nodes: Sequence[NodeProto], constants: Constants, feature_count: int, *, tree_opset: int = CLASSIFIER_OPSET
) -> ModelProto:
    """Assemble and check; the graph gets fixed names, because converters draw random ones."""
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", feature_count])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, ["batch"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", tree_opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="nodogram")
    onnx.checker.check_model(model)
    return model


_BUILDERS: dict[str, Callable[[Any, int], ModelProto]] = {
    "LR": _smooth,
    "MLP": _smooth,
    "SVM": _support_vectors,
    "RF": _forest,
    "ExtraTrees": _forest,
    "XGBoost": _xgboost,
    "LightGBM": _lightgbm,
}
