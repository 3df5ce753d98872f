"""Writes files like Lua Torch's `torch.save`: values, nngraph's graphs, Reed et al.'s encoders.

It follows Torch7's File.lua and generic/{Storage,Tensor}.c, graph's init.lua and Node.lua,
nngraph's gmodule.lua and node.lua, and the encoders' HybridCNN.lua, HybridCNNLong.lua, FixedRNN.lua
and FixedGRU.lua. Lists become tables with keys from 1. A `Table` or an `Object` is written once;
later references to it are its number.
"""

import dataclasses
import struct
import sys
import zlib

import numpy as np

from stackgan_jax.models.char_cnn_rnn import CharCnnRnn
from stackgan_jax.weights.encoder_names import shapes

TYPES = {"Float": "<f4", "Cuda": "<f4", "Double": "<f8"}


class Table(dict):
    __hash__ = object.__hash__
    __eq__ = object.__eq__


@dataclasses.dataclass(eq=False)
class Object:
    kind: str
    fields: dict


@dataclasses.dataclass(eq=False)
class Storage:
    kind: str
    values: np.ndarray


@dataclasses.dataclass(eq=False)
class Tensor:
    """A contiguous view of a storage that starts at `offset`."""

    storage: Storage
    offset: int
    shape: tuple


@dataclasses.dataclass(eq=False)
class Function:
    bytecode: bytes


def dump(value) -> bytes:
    """Returns the bytes of a file that holds `value`."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        writer = _Writer()
        writer.value(value)
        return bytes(writer.out)
    finally:
        sys.setrecursionlimit(limit)


class _Writer:
    def __init__(self):
        self.out = bytearray()
        self.numbers = {}

    def put(self, code, *values):
        self.out += struct.pack(f"<{code}", *values)

    def text(self, text):
        self.put("i", len(text))
        self.out += text.encode("latin-1")

    def value(self, value):
        if value is None:
            self.put("i", 0)
        elif isinstance(value, bool):
            self.put("ii", 5, value)
        elif isinstance(value, int | float):
            self.put("id", 1, value)
        elif isinstance(value, str):
            self.put("i", 2)
            self.text(value)
        else:
            self.numbered(value)

    def numbered(self, value):
        kind = 3 if isinstance(value, dict | list) else 8 if isinstance(value, Function) else 4
        known = id(value) in self.numbers
        number, _ = self.numbers.setdefault(id(value), (len(self.numbers) + 1, value))
        self.put("ii", kind, number)
        if known:
            return
        if isinstance(value, Function):
            self.text(value.bytecode.decode("latin-1"))
            self.value([{"name": "nn", "id": 1.0}])
        elif kind == 3:
            items = enumerate(value, 1) if isinstance(value, list) else value.items()
            self.put("i", len(value))
            for key, item in items:
                self.value(key)
                self.value(item)
        else:
            self.text("V 1")
            self.object(value)

    def object(self, value):
        if isinstance(value, Storage):
            self.text(f"torch.{value.kind}Storage")
            self.put("q", value.values.size)
            self.out += value.values.astype(TYPES[value.kind]).tobytes()
        elif isinstance(value, Tensor):
            self.text(f"torch.{value.storage.kind}Tensor")
            rank = len(value.shape)
            strides = np.cumprod([1, *value.shape[:0:-1]])[::-1][:rank]
            self.put(f"i{rank}q{rank}qq", rank, *value.shape, *strides, value.offset + 1)
            self.value(value.storage)
        else:
            self.text(value.kind)
            self.value(Table(value.fields))


# nngraph


def _node(**data):
    return _as_node(Table(data, mapindex=Table(), annotations=Table(), reverseMap=Table()))


def _as_node(data):
    fields = {"data": data, "id": 0, "children": Table(), "visited": False, "marked": False}
    return Object("nngraph.Node", fields)


def _add(node, child, in_order=False):
    children = node.fields["children"]
    if child not in children:
        children[len(children) // 2 + 1] = child
        children[child] = len(children) // 2 + 1
    if in_order:
        order = node.fields["data"]["mapindex"]
        order[len(order) // 2 + 1] = child.fields["data"]
        order[child.fields["data"]] = len(order) // 2 + 1
        child.fields["data"]["reverseMap"][node] = True


def _children(node):
    children = node.fields["children"]
    return [children[i + 1] for i in range(len(children) // 2)]


def call(module, *inputs):
    """Returns the node of a module applied to other nodes."""
    node = _node(module=module)
    for given in inputs:
        _add(node, given, in_order=True)
    return node


def _graph(edges):
    nodes = Table()
    for start, end in edges:
        for node in (start, end):
            if node not in nodes:
                nodes[len(nodes) // 2 + 1] = node
                nodes[node] = node.fields["id"] = len(nodes) // 2 + 1
        _add(start, end)
    listed = [Object("graph.Edge", {"from": start, "to": end}) for start, end in edges]
    return Object("graph.Graph", {"nodes": nodes, "edges": listed})


def _edges_below(node):
    """Returns the edges below a node, breadth first, in the order of Node:graph()."""
    queue, seen, edges = [node], {node}, []
    for current in queue:
        for child in _children(current):
            edges.append((current, child))
            if child not in seen:
                seen.add(child)
                queue.append(child)
    return edges


def _reversed(edges):
    """Returns the reversed edges between new nodes with the same data, and old node → new node."""
    made = {}
    for edge in edges:
        for node in edge:
            made.setdefault(node, _as_node(node.fields["data"]))
    turned = []
    for start, end in edges:
        turned.append((made[end], made[start]))
        _add(made[end], made[start])
    return turned, made


def _sorted(edges):
    """Returns the nodes sorted topologically, in the order of Graph:topsort()."""
    turned, made = _reversed(edges)
    back = {new: old for old, new in made.items()}
    (root,) = {start for start, _ in turned} - {end for _, end in turned}
    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for child in _children(node):
                visit(child)
            order.append(back[node])

    visit(root)
    return order


def graph_module(inputs, output):
    """Returns an nn.gModule, as nngraph builds it from input nodes and an output node."""
    outnode = _node(input=Table())
    _add(outnode, output, in_order=True)
    innode = _node(input=Table())
    if len(inputs) == 1:
        _add(inputs[0], innode, in_order=True)
    else:
        splitter = _node(nSplitOutputs=len(inputs))
        _add(splitter, innode, in_order=True)
        for i, node in enumerate(inputs, 1):
            select = _node(selectindex=i, input=Table())
            _add(select, splitter, in_order=True)
            _add(node, select, in_order=True)
    backward = _edges_below(outnode)
    forward, made = _reversed(backward)
    forwardnodes = _sorted(forward)
    modules = [
        node.fields["data"]["module"] for node in forwardnodes if "module" in node.fields["data"]
    ]
    fields = {
        "bg": _graph(backward),
        "fg": _graph(forward),
        "innode": made[innode],
        "outnode": outnode,
        "forwardnodes": forwardnodes,
        "backwardnodes": _sorted(backward),
        "modules": modules,
        "nInputs": len(inputs),
        "verbose": False,
    }
    return Object("nn.gModule", fields)


# Encoders


class Encoder:
    """Builds HybridCNN's graph from the weights of a PyTorch state dict, all in one storage."""

    def __init__(self, weights, kind="Float"):
        self.weights = weights
        flat = np.concatenate([np.ravel(self._lua(name)) for name in weights])
        self.storage = Storage(kind, flat)
        starts = np.cumsum([0, *(np.size(array) for array in weights.values())])
        self.starts = {name: int(start) for name, start in zip(weights, starts, strict=False)}

    def _lua(self, name):
        array = np.asarray(self.weights[name])
        return array.transpose(0, 2, 1).reshape(len(array), -1) if array.ndim == 3 else array

    def layer(self, kind, name, **fields):
        for field in ("weight", "bias"):
            key = f"{name}.{field}"
            shape = np.shape(self._lua(key))
            fields[field] = Tensor(self.storage, self.starts[key], shape)
        return module(kind, **fields)

    def linear(self, name):
        return module("nn.Sequential", modules=[self.layer("nn.Linear", name)])

    def graph(self, cell, final_pooling, mean=True, dropout=True):
        layers = []
        for number in (1, 2, 3):
            layers += [
                self.layer("nn.TemporalConvolution", f"conv{number}", kW=4, dW=1),
                module("nn.Threshold", threshold=1e-6, val=0),
            ]
            if number < 3 or final_pooling:
                layers.append(module("nn.TemporalMaxPooling", kW=3, dW=3 if number < 3 else 2))
        inputs = [call(module("nn.Identity"))]
        x = call(module("nn.Sequential", modules=layers), *inputs)
        x = call(module("nn.SplitTable", dimension=2), x)
        recurrence = {"plain": self.plain, "gated": self.gated}[cell]
        x = call(recurrence(8 if final_pooling else 18, mean), x)
        if dropout:
            x = call(module("nn.Dropout", p=0, train=False), x)
        return graph_module(inputs, call(self.layer("nn.Linear", "emb_proj"), x))

    def plain(self, steps, mean):
        inputs = [call(module("nn.Identity")) for _ in range(steps)]
        states = [call(module("nn.ReLU"), call(self.linear("rnn.i2h"), inputs[0]))]
        total = states[0]
        for given in inputs[1:]:
            read = call(self.linear("rnn.i2h"), given)
            carried = call(self.linear("rnn.h2h"), states[-1])
            states.append(call(module("nn.ReLU"), call(module("nn.CAddTable"), read, carried)))
            total = call(module("nn.CAddTable"), total, states[-1])
        return graph_module(inputs, self._result(states, total, mean))

    def gated(self, steps, mean):
        inputs = [call(module("nn.Identity")) for _ in range(steps)]
        states = [call(module("nn.Tanh"), call(self.linear("rnn.i2h"), inputs[0]))]

        def gate(name, given):
            read = call(self.linear(f"rnn.i2h_{name}"), given)
            carried = call(self.linear(f"rnn.h2h_{name}"), states[-1])
            return call(module("nn.Sigmoid"), call(module("nn.CAddTable"), read, carried))

        for given in inputs[1:]:
            update, reset = gate("update", given), gate("reset", given)
            kept = call(module("nn.CMulTable"), reset, states[-1])
            read = call(self.linear("rnn.i2h"), given)
            carried = call(self.linear("rnn.h2h"), kept)
            candidate = call(module("nn.Tanh"), call(module("nn.CAddTable"), read, carried))
            new = call(module("nn.CMulTable"), update, candidate)
            rest = call(module("nn.MulConstant", constant_scalar=-1), update)
            rest = call(module("nn.AddConstant", constant_scalar=1), rest)
            old = call(module("nn.CMulTable"), rest, states[-1])
            states.append(call(module("nn.CAddTable"), new, old))
        total = states[0]
        for state in states[1:]:
            total = call(module("nn.CAddTable"), total, state)
        return graph_module(inputs, self._result(states, total, mean))

    def _result(self, states, total, mean):
        constant = module("nn.MulConstant", constant_scalar=1 / len(states))
        return call(constant, total) if mean else states[-1]


def module(kind, **fields):
    """Returns an object of a Torch class with the fields that all modules have."""
    empty = Tensor(Storage("Float", np.zeros(0)), 0, ())
    return Object(kind, {"_type": "torch.FloatTensor", "output": empty, "train": False} | fields)


def checkpoint(encoder):
    """Returns a checkpoint of an encoder, like those of train_sje_hybrid.lua."""
    options = Table(doc_length=201, avg=1, savefile="sje_hybrid", symmetric=True)
    protos = Table(enc_doc=encoder, enc_image=module("nn.Identity"))
    return Table(protos=protos, opt=options, train_losses=[0.5, 0.25], hook=Function(b"\x1bLJ\x01"))


def draw(key, shape):
    """Returns a weight of the networks in char_cnn_rnn.npz, drawn by the rule of that file."""
    rng = np.random.RandomState((zlib.crc32(key.encode()) + 31) & 0xFFFFFFFF)
    scale = 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def small_encoder(cell="plain", width=32, kind="Float"):
    """Returns an `Encoder` with 8, 6 and 5 features."""
    module = CharCnnRnn(width=width, features=(8, 6, 5), cell=cell, final_pooling=cell == "plain")
    return Encoder({k: draw(k, s) for k, s in shapes(module).items()}, kind)
