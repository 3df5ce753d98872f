"""Lua Torch's files are read whole or rejected, and the encoders in them are the published ones."""

import lua_torch
import numpy as np
import pytest

from stackgan_jax.models.char_cnn_rnn import PUBLISHED, CharCnnRnn
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights import imports, torch7, weight_files
from stackgan_jax.weights.encoder_names import shapes, to_state_dict


def test_all_kinds_of_lua_torch_values_are_read(tmp_path):
    own = lua_torch.Table(name="x", list=[1.5, True, None, "é"])
    own["self"] = own
    own[own] = lua_torch.Function(b"\x1bLJ")
    (tmp_path / "v.t7").write_bytes(lua_torch.dump(own))
    read = torch7.load(tmp_path / "v.t7")
    assert repr(read) == "a table of 4"
    assert read["self"] is read and read["name"] == "x" and read[read] is None
    assert [read["list"][i] for i in (1, 2, 3, 4)] == [1.5, True, None, "é"]


@pytest.mark.parametrize("variant", PUBLISHED)
def test_lua_torch_encoders_are_the_published_ones(variant, tmp_path):
    fields = PUBLISHED[variant]
    weights = {
        key: lua_torch.draw(key, shape) for key, shape in shapes(CharCnnRnn(**fields)).items()
    }
    graph = lua_torch.Encoder(weights, "Cuda").graph(fields["cell"], fields["final_pooling"])
    (tmp_path / "encoder.t7").write_bytes(lua_torch.dump(lua_torch.checkpoint(graph)))
    encoder = imports.read_encoder(tmp_path / "encoder.t7")
    assert encoder.module == CharCnnRnn(**fields)
    back = to_state_dict(encoder.module, encoder.params)
    assert back.keys() == weights.keys()
    assert all(np.array_equal(back[key], weights[key]) for key in weights)


def test_graphs_written_by_the_tests_have_the_order_of_the_published_files():
    """The order that martinduartemore/char_cnn_rnn_pytorch expects of Reed et al.'s own files."""

    def order(cell):
        encoder = lua_torch.small_encoder(cell)
        outer = encoder.graph(cell, cell == "plain").fields["modules"]
        starts = {start: name.rpartition(".")[0] for name, start in encoder.starts.items()}
        inner = outer[3].fields["modules"]
        return [
            starts[module.fields["modules"][0].fields["weight"].offset]
            if module.kind == "nn.Sequential"
            else None
            for module in inner
        ]

    plain, gated = order("plain"), order("gated")
    assert [plain[1], plain[5]] == ["rnn.i2h", "rnn.h2h"]
    assert [gated[i] for i in (1, 4, 5, 9, 10, 14)] == [
        "rnn.i2h",
        "rnn.i2h_update",
        "rnn.h2h_update",
        "rnn.i2h_reset",
        "rnn.h2h_reset",
        "rnn.h2h",
    ]


@pytest.mark.parametrize("cell", ["plain", "gated"])
@pytest.mark.parametrize("kind", ["Float", "Double"])
def test_an_encoder_outside_of_a_checkpoint_is_read(cell, kind, tmp_path):
    encoder = lua_torch.small_encoder(cell, kind=kind)
    graph = encoder.graph(cell, cell == "plain", dropout=False)
    (tmp_path / "encoder.t7").write_bytes(lua_torch.dump(graph))
    weights, final_pooling = weight_files.read_encoder(tmp_path / "encoder.t7")
    assert final_pooling == (cell == "plain")
    assert weights.keys() == encoder.weights.keys()
    assert all(np.array_equal(weights[key], encoder.weights[key]) for key in weights)


def test_a_plain_recurrence_without_final_pooling_is_read(tmp_path):
    (tmp_path / "e.t7").write_bytes(lua_torch.dump(lua_torch.small_encoder().graph("plain", False)))
    assert imports.read_encoder(tmp_path / "e.t7").module.final_pooling is False


def test_a_lua_torch_file_cut_anywhere_is_rejected(tmp_path):
    whole = lua_torch.dump(lua_torch.checkpoint(lua_torch.small_encoder().graph("plain", True)))
    path = tmp_path / "cut.t7"
    for length in (*range(0, 200, 7), *range(200, len(whole) - 1, 997), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.t7"):
            weight_files.read_encoder(path)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (lambda: lua_torch.module("nn.Sequential", modules=[]), "it holds nn.Sequential, not"),
        (lambda: lua_torch.Table(protos=lua_torch.Table()), "without protos.enc_doc"),
        (
            lambda: lua_torch.small_encoder().graph("plain", True, mean=False),
            "the last state, not the mean",
        ),
        (lambda: lua_torch.module("nn.gModule"), "its graph has other parts"),
        (lambda: other_graph("nn.Linear"), "it chains nn.Linear, not"),
        (lambda: altered("nn.Threshold", threshold=0), "nn.Threshold has threshold 0.0, not"),
        (lambda: altered("nn.TemporalMaxPooling", kW=4), "nn.TemporalMaxPooling has kW 4.0"),
        (lambda: altered("nn.TemporalConvolution", weight=None), "has no weight"),
        (lambda: nested(150_000), "nested too deeply"),
    ],
)
def test_other_lua_torch_models_are_rejected(saved, message, tmp_path):
    value = saved()
    data = value if isinstance(value, bytes) else lua_torch.dump(value)
    (tmp_path / "other.t7").write_bytes(data)
    with pytest.raises(UserError, match=message):
        weight_files.read_encoder(tmp_path / "other.t7")


def other_graph(kind):
    inputs = [lua_torch.call(lua_torch.module("nn.Identity"))]
    return lua_torch.graph_module(inputs, lua_torch.call(lua_torch.module(kind), *inputs))


def altered(kind, **fields):
    graph = lua_torch.small_encoder().graph("plain", True)
    layers = graph.fields["modules"][1].fields["modules"]
    next(layer for layer in layers if layer.kind == kind).fields.update(fields)
    return graph


def nested(depth):
    """Returns tables in tables: kind 3, number, one item under the key 1."""
    key = np.float64(1).tobytes()
    levels = (np.array([3, i, 1, 1], "<i4").tobytes() + key for i in range(1, depth + 1))
    return b"".join(levels)


def test_a_recurrence_whose_steps_have_different_weights_is_rejected(tmp_path):
    encoder = lua_torch.small_encoder()
    graph = encoder.graph("plain", True)
    linears = [m for m in graph.fields["modules"][3].fields["modules"] if m.kind == "nn.Sequential"]
    linears[-1].fields["modules"][0].fields["bias"].offset += 1
    (tmp_path / "e.t7").write_bytes(lua_torch.dump(graph))
    with pytest.raises(UserError, match=r"don't share rnn\.\w2h\.bias"):
        weight_files.read_encoder(tmp_path / "e.t7")
