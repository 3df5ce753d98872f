"""Finds the weights of a char-CNN-RNN encoder in the graph of modules that Lua Torch saved.

The graphs are those of HybridCNN.lua, HybridCNNLong.lua, FixedRNN.lua and FixedGRU.lua (Reed et
al., CVPR and ICML 2016). The role of a layer is inferred from the graph, not from its position in
the file. The data of an nngraph node holds its `module` and, in `mapindex`, the data of its inputs
in order.
"""

from typing import Any

import numpy as np

from stackgan_jax.models.char_cnn_rnn import ALPHABET, TAPS, THRESHOLD
from stackgan_jax.weights.torch7 import Object, Table

_CHAIN = ["nn.Sequential", "nn.SplitTable", "nn.gModule", "nn.Dropout", "nn.Linear"]
_CONVOLUTION = ["nn.TemporalConvolution", "nn.Threshold"]
_POOLED = [*_CONVOLUTION, "nn.TemporalMaxPooling"]


def state_dict(saved: Any) -> tuple[dict[str, np.ndarray], bool]:
    """Converts the content of a Lua Torch file.

    Args:
        saved: The value of `torch7.load`: the encoder, or a table with the encoder in
            protos.enc_doc, as training saved it.

    Returns:
        The weights under the published PyTorch names, and `final_pooling`.

    Raises:
        ValueError: If it differs from those encoders. The error says where.
    """
    chain = _modules_to_the_end(_encoder(saved))
    kinds = [module.kind for module in chain]
    if kinds not in (_CHAIN, [kind for kind in _CHAIN if kind != "nn.Dropout"]):
        raise ValueError(f"it chains {', '.join(kinds) or 'nothing'}, not {', '.join(_CHAIN)}")
    weights, final_pooling = _convolutions(chain[0])
    weights |= _recurrence(chain[2])
    weights |= _named("emb_proj", chain[-1])
    return weights, final_pooling


def _encoder(saved: Any) -> Object:
    """Returns the encoder's graph, taken from the checkpoint of a training if `saved` is one."""
    if isinstance(saved, Table):
        protos = saved.get("protos")
        saved = protos.get("enc_doc") if isinstance(protos, Table) else None
        if saved is None:
            raise ValueError("it is a table without protos.enc_doc")
    if not isinstance(saved, Object) or saved.kind != "nn.gModule":
        raise ValueError(f"it holds {_kind(saved)}, not the graph (nn.gModule) of an encoder")
    return saved


def _kind(value: Any) -> str:
    return value.kind if isinstance(value, Object) else f"a {type(value).__name__}"


def _modules_to_the_end(graph: Object) -> list[Object]:
    """Returns the modules of a graph that is a chain, in running order, without nn.Identity."""
    modules = []
    node = graph["outnode"]["data"]
    for _ in range(len(graph["forwardnodes"] or ())):
        inputs = _inputs(node)
        if not inputs:
            break
        if len(inputs) > 1:
            raise ValueError("its graph is not a chain of modules")
        (node,) = inputs
        if node.get("module") is not None:
            modules.append(node["module"])
    return [module for module in reversed(modules) if module.kind != "nn.Identity"]


def _inputs(data: Table) -> list[Table]:
    """Returns the data of a node's inputs in order."""
    return (data.get("mapindex") or Table()).items_in_order()


def _convolutions(network: Object) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the weights of the three convolutions, and whether the third is pooled."""
    modules = network["modules"].items_in_order()
    kinds = [module.kind for module in modules]
    final_pooling = kinds == 3 * _POOLED
    if not final_pooling and kinds != 2 * _POOLED + _CONVOLUTION:
        raise ValueError(f"its convolutional part is {', '.join(kinds)}")
    _require_settings(modules[1::3], threshold=THRESHOLD, val=0)
    _require_settings(modules[2:6:3], kW=3, dW=3)
    _require_settings(modules[8:], kW=3, dW=2)
    _require_settings(modules[::3], kW=TAPS, dW=1)
    weights = {}
    features = len(ALPHABET)
    for number, module in enumerate(modules[::3], start=1):
        weights |= _named(f"conv{number}", module)
        # Lua Torch: [out, taps * in] with taps as the outer axis. PyTorch: [out, in, taps].
        kernel = weights[f"conv{number}.weight"]
        if kernel.ndim != 2 or kernel.shape[1] != TAPS * features:
            raise ValueError(f"conv{number} has weights {kernel.shape} on {features} features")
        split = kernel.reshape(len(kernel), TAPS, features)
        weights[f"conv{number}.weight"] = split.transpose(0, 2, 1)
        features = len(kernel)
    return weights, final_pooling


def _require_settings(modules: list[Object], **settings: float) -> None:
    """Raises ValueError unless all modules have these settings."""
    for module in modules:
        for name, value in settings.items():
            if not np.isclose(module[name] if module[name] is not None else np.nan, value):
                raise ValueError(f"{module.kind} has {name} {module[name]}, not {value}")


def _recurrence(graph: Object) -> dict[str, np.ndarray]:
    """Returns the weights of a plain or gated recurrence, whose steps are unrolled in the graph."""
    nodes = [node["data"] for node in graph["forwardnodes"].items_in_order()]
    readers: dict[Table, list[Table]] = {}
    for node in nodes:
        for read in _inputs(node):
            readers.setdefault(read, []).append(node)
    last = _inputs(graph["outnode"]["data"])
    if [_module_kind(node) for node in last] != ["nn.MulConstant"]:
        raise ValueError("its recurrence gives the last state, not the mean of all")
    weights: dict[str, np.ndarray] = {}
    for node in nodes:
        linear = _linear(node.get("module"))
        if linear is None:
            continue
        role = _named(_role(node, readers), linear)
        for name, array in role.items():
            if not np.array_equal(weights.setdefault(name, array), array):
                raise ValueError(f"the steps of its recurrence don't share {name}")
    return weights


def _linear(module: Any) -> Object | None:
    """Returns a module that is an nn.Linear, or the only one that it contains; else None."""
    if isinstance(module, Object) and module.kind == "nn.Sequential":
        inside = module["modules"].items_in_order()
        module = inside[0] if len(inside) == 1 else None
    return module if isinstance(module, Object) and module.kind == "nn.Linear" else None


def _role(node: Table, readers: dict[Table, list[Table]]) -> str:
    """Returns rnn.{i2h,h2h}{,_update,_reset}, inferred from the layer's input and its readers.

    Args:
        node: The layer's node.
        readers: Node → the nodes that read its output.
    """
    side = "i2h" if [_module_kind(read) for read in _inputs(node)] == ["nn.Identity"] else "h2h"
    (activation,) = readers.get(node, [Table()])
    if _module_kind(activation) == "nn.CAddTable":
        (activation,) = readers.get(activation, [Table()])
    if _module_kind(activation) != "nn.Sigmoid":
        return f"rnn.{side}"
    # Only the update gate is also read as (1 - update), the weight of the last state.
    update = "nn.MulConstant" in map(_module_kind, readers.get(activation, []))
    return f"rnn.{side}_{'update' if update else 'reset'}"


def _module_kind(node: Table) -> str:
    return _kind(node.get("module"))


def _named(name: str, layer: Object) -> dict[str, np.ndarray]:
    """Returns the weight and the bias of a layer under a PyTorch name."""
    for field in ("weight", "bias"):
        if not isinstance(layer[field], np.ndarray):
            raise ValueError(f"{layer.kind} has no {field}")
    return {f"{name}.{field}": layer[field] for field in ("weight", "bias")}
