"""The operation as a function: every form gives what the reference gives, and that what the concatenation gives."""

import inspect

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.test_layers import (
    COORDS_FIRST,
    FAMILY,
    assert_same,
    concatenated,
    configurations,
    drawn_layer,
    forward_and_gradients,
    positive,
    to_channels_first,
    to_channels_last,
)
from paddle.static import InputSpec

import ppcoordconv as pcc
from ppcoordconv import compat, forms

# Forms that need no constant grid, no eager mode and no CPU: any graph may hold them.
IN_GRAPHS = ("concat", "broadcast", "split")


def in_form(layer, name):
    """The layer's own operation, in one form; as a copy of the layer would do it."""

    def compute(x):
        last = layer.data_format.endswith("C")
        x = to_channels_first(x) if last else x
        y = forms.FORMS[name].compute(layer.conv.call_for(x, pcc.grids.grid_of(x, layer.convention, layer.with_r)))
        return to_channels_last(y) if last else y

    return compute


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(30))
@given(st.data())
def test_every_form_is_the_concatenation(name, data):
    """Outputs and all gradients in float32, against float64; what computes without gradients, by its outputs."""
    layer, x, expected = drawn_layer(data, name)
    for form in forms.FORMS:
        if form == "cached":
            with paddle.no_grad():
                for _ in range(2):
                    assert_same([in_form(layer, form)(x).numpy()], expected[:1], 1e-5)
        else:
            assert_same(forward_and_gradients(in_form(layer, form), x, layer.parameters()), expected, 1e-5)


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(30))
@given(st.data())
def test_the_reference_form_is_the_concatenation_to_the_last_digits(name, data):
    layer, x, expected = drawn_layer(data, name)
    layer.to(dtype="float64")
    got = forward_and_gradients(in_form(layer, "split"), x.astype("float64"), layer.parameters())
    assert_same(got, expected, 1e-10)


class InForm(paddle.nn.Layer):
    def __init__(self, layer, form):
        super().__init__()
        self.layer, self.form = layer, form
        layer.conv.form_in_graphs = form

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("form", IN_GRAPHS)
@pytest.mark.parametrize("name", ["CoordConv1D", "CoordConv2D", "CoordConv3D", "CoordConv2DTranspose"])
@settings(max_examples=examples(4))
@given(st.data())
def test_every_form_of_graphs_in_a_graph(form, name, data):
    layer, x, expected = drawn_layer(data, name)
    spec = [InputSpec(x.shape if form == "broadcast" else [None, *x.shape[1:]], "float32", "x")]
    static = paddle.jit.to_static(InForm(layer, form), input_spec=spec, full_graph=True)
    assert_same(forward_and_gradients(static, x, layer.parameters()), expected, 1e-5)


@pytest.mark.parametrize("form", [name for name in forms.FORMS if name != "cached"])
def test_every_form_under_amp(form):
    layer = pcc.CoordConv(3, 4, 3, padding=1)
    x = paddle.randn([8, 3, 5, 7])
    expected = layer(x).numpy()
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        y = in_form(layer, form)(x)
    np.testing.assert_allclose(y.astype("float32").numpy(), expected, rtol=0.05, atol=0.05)


@settings(max_examples=examples(20))
@given(st.data())
def test_the_function_is_the_layer(data):
    configuration = data.draw(configurations("CoordConv2D"))
    configuration["data_format"] = "NCHW"
    if not isinstance(configuration["padding"], (int, str)):
        configuration["padding"] = 1
    layer = pcc.CoordConv(**configuration)
    x = paddle.to_tensor(positive([2, configuration["in_channels"], 6, 7]))
    names = ("stride", "padding", "dilation", "groups", "padding_mode")
    options = {name: configuration[name] for name in names}
    options["coords_first"] = layer.convention.coords_first
    grid = pcc.coord_grid([6, 7], configuration["coords"], configuration["with_r"])
    for form in (None, *forms.FORMS):
        with paddle.set_grad_enabled(form != "cached"):
            y = pcc.functional.coord_conv(x, grid, layer.conv.weight, layer.conv.bias, **options, form=form)
        assert_same([y.numpy()], [layer(x).numpy()], 1e-5)


@pytest.mark.parametrize(
    ("form", "samples", "constant", "words"),
    [
        ("cached", 1, True, "form: 'cached' can't compute this: gradients are recorded"),
        ("cached", 3, True, "form: 'cached' can't compute this: each sample has a grid of its own"),
        ("cached", 1, False, "form: 'cached' can't compute this: the grid has a gradient"),
        ("matmul", 1, False, "form: 'matmul' can't compute this: the grid has a gradient"),
    ],
)
def test_a_form_that_would_compute_something_else_is_refused(form, samples, constant, words):
    x, grid, weight = paddle.randn([3, 2, 5, 6]), paddle.randn([samples, 2, 5, 6]), paddle.randn([4, 4, 3, 3])
    grid.stop_gradient = constant
    with pytest.raises(ValueError, match=words):
        pcc.functional.coord_conv(x, grid, weight, form=form)


def test_what_is_kept_is_of_one_dtype():
    """Where the processor has instructions for bf16, autocast makes the features half precision for a while."""
    layer, plain = pcc.CoordConv(3, 4, 3, padding=1), paddle.nn.Conv2D(3, 4, 3)
    layer.eval()
    x = paddle.randn([8, 3, 20, 20])
    with paddle.no_grad():
        expected = layer(x)
        with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
            half, dtype = layer(x), plain(x).dtype
        again = layer(x)
    np.testing.assert_array_equal(again.numpy(), expected.numpy())
    assert half.dtype == dtype
    np.testing.assert_allclose(half.astype("float32").numpy(), expected.numpy(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("form", [None, "concat", "split", "broadcast"])
def test_a_grid_for_each_sample_that_has_a_gradient(form):
    x, weight = paddle.randn([3, 2, 5, 6]), paddle.randn([4, 4, 3, 3])
    grid = paddle.randn([3, 2, 5, 6])
    grid.stop_gradient = False
    y = pcc.functional.coord_conv(x, grid, weight, padding=1, form=form)
    expected = paddle.nn.functional.conv2d(paddle.concat([x, grid], axis=1), weight, padding=1)
    assert_same([y.numpy()], [expected.numpy()], 1e-5)
    (gradient,), (wanted,) = paddle.grad(y.sum(), grid, retain_graph=True), paddle.grad(expected.sum(), grid)
    assert_same([gradient.numpy()], [wanted.numpy()], 1e-5)


def test_the_function_leaves_the_given_grid_alone():
    x, grid = paddle.randn([3, 2, 5, 6]), paddle.randn([3, 2, 5, 6])
    x.stop_gradient = False
    pcc.functional.coord_conv(x, grid, paddle.randn([4, 4, 3, 3]), form="concat")
    assert grid.stop_gradient


@pytest.mark.parametrize(
    ("shapes", "options", "words"),
    [
        (([2, 3, 5, 5], [1, 2, 5], [4, 5, 1, 1]), {}, "expected the same 3, 4 or 5 axes"),
        (([2, 3], [1, 2], [4, 5]), {}, "expected the same 3, 4 or 5 axes"),
        (([1] * 6, [1] * 6, [1, 2, 1, 1, 1, 1]), {}, "expected the same 3, 4 or 5 axes"),
        (
            ([2, 3, 5, 5], [1, 2, 5, 4], [4, 5, 1, 1]),
            {},
            r"grid: expected \[1 or N, d, \*spatial\] of x \[2, 3, 5, 5\], got \[1, 2, 5, 4\]$",
        ),
        (([4, 3, 5, 5], [2, 2, 5, 5], [4, 5, 1, 1]), {}, r"grid: expected \[1 or N"),
        (([2, 3, 5, 5], [1, 2, 5, 5], [4, 3, 1, 1]), {}, r"weight: expected 3 / groups \+ 2 input channels"),
        (([2, 4, 5, 5], [1, 2, 5, 5], [4, 6, 1, 1]), {"groups": 2}, "weight: expected 4 / groups"),
        (
            ([2, 3, 5, 5], [1, 2, 5, 5], [4, 5, 1, 1]),
            {"form": "cat"},
            "form: expected one of concat, cached",
        ),
    ],
)
def test_wrong_arguments(shapes, options, words):
    x, grid, weight = (paddle.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=words):
        pcc.functional.coord_conv(x, grid, weight, **options)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_function_by_itself(rank):
    """With nothing but tensors given, it is Paddle's convolution with nothing else given."""
    conv = forms.CONV[rank, False]
    x, grid, weight = (paddle.randn([n, c] + [5] * rank) for n, c in ((2, 3), (1, 2), (4, 5)))
    expected = conv(paddle.concat([x, grid.expand([2, -1] + [5] * rank)], axis=1), weight)
    assert_same([pcc.functional.coord_conv(x, grid, weight).numpy()], [expected.numpy()], 1e-5)


def test_a_spec_has_the_defaults_of_paddle():
    spec = forms.ConvSpec()
    for conv in forms.CONV.values():
        defaults = {name: p.default for name, p in inspect.signature(conv).parameters.items()}
        assert all(getattr(spec, name) == defaults[name] for name in set(spec._fields) & set(defaults))
    x, grid, weight = paddle.randn([2, 3, 5, 5]), paddle.randn([1, 2, 5, 5]), paddle.randn([4, 5, 1, 1])
    expected = paddle.nn.functional.conv2d(paddle.concat([x, grid.expand([2, -1, -1, -1])], axis=1), weight)
    assert_same([forms.run(forms.Call(x, grid, weight, None, spec)).numpy()], [expected.numpy()], 1e-5)


@pytest.mark.parametrize("samples", [1, 2])
def test_the_bias_is_added_once(samples):
    """To the features of one sample, to the offset of several: to the last bit."""
    x, grid = paddle.randn([samples, 3, 40, 40]), paddle.randn([1, 2, 40, 40])
    weight, bias = paddle.randn([4, 5, 3, 3]), paddle.randn([4])
    conv = paddle.nn.functional.conv2d
    on_features, on_offset = (bias, None) if samples == 1 else (None, bias)
    expected = conv(x, weight[:, :3], on_features) + conv(grid, weight[:, 3:], on_offset)
    got = pcc.functional.coord_conv(x, grid, weight, bias, form="broadcast")
    np.testing.assert_array_equal(got.numpy(), expected.numpy())


def test_the_grid_is_not_rounded_for_a_cheaper_form():
    """Concatenated, it would be in the features' dtype."""
    x, weight = paddle.randn([1, 4, 5, 5]), paddle.randn([32, 6, 3, 3])
    call = forms.Call(x, pcc.coord_grid([5, 5]), weight, None, forms.ConvSpec())
    assert forms.chosen_form(call) == "concat"
    reason = "the grid would be rounded to the features' dtype"
    assert forms.FORMS["concat"].refused(call._replace(grid=call.grid.astype("float64"))) == reason
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        refused = forms.FORMS["concat"].refused(call)
    assert refused == (reason if autocast_works() else "")


def autocast_works():
    """Paddle 2.6 switches it off on processors without bf16."""
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        return compat.autocast_is_on()


# What is chosen: layer, batch and size, whether gradients are recorded.
CHOICES = [
    ({"kernel_size": 3}, [8, 4, 50, 50], True, "matmul"),
    ({"kernel_size": 3}, [8, 4, 50, 50], False, "cached"),
    ({"kernel_size": 3}, [1, 4, 5, 5], True, "concat"),
    ({"kernel_size": 3}, [1, 4, 5, 5], False, "concat"),
    ({"kernel_size": 3, "groups": 2}, [1, 4, 5, 5], True, "matmul"),
    ({"kernel_size": 3, "coords": COORDS_FIRST}, [1, 4, 5, 5], True, "matmul"),
    ({"kernel_size": 7}, [1, 4, 50, 50], True, "split"),
    ({"kernel_size": 7}, [1, 4, 50, 50], False, "cached"),
    # As many weights as features, and one feature fewer.
    ({"kernel_size": 1}, [1, 4, 6, 8], True, "matmul"),
    ({"kernel_size": 1}, [1, 4, 1, 47], True, "concat"),
    # 2 * 9 + 1 rows, for as many outputs, and for one less.
    ({"kernel_size": 3, "out_channels": 19}, [1, 4, 50, 50], True, "matmul"),
    ({"kernel_size": 3, "out_channels": 18}, [1, 4, 50, 50], True, "split"),
    ({"kernel_size": 3, "out_channels": 9}, [2, 4, 50, 50], True, "split"),
    ({"kernel_size": 3, "out_channels": 10}, [2, 4, 50, 50], True, "matmul"),
    ({"kernel_size": 3, "out_channels": 20, "groups": 2, "transposed": True}, [1, 4, 50, 50], True, "matmul"),
    ({"kernel_size": 3, "out_channels": 18, "groups": 2, "transposed": True}, [1, 4, 50, 50], True, "split"),
]


@pytest.mark.parametrize(("options", "shape", "gradients", "form"), CHOICES)
def test_explain_tells_what_runs(capsys, monkeypatch, options, shape, gradients, form):
    options = {"out_channels": 32, **options}
    layer = (pcc.CoordConv2DTranspose if options.pop("transposed", False) else pcc.CoordConv)(4, **options)
    x = paddle.randn(shape)
    with paddle.set_grad_enabled(gradients):
        rows = pcc.explain(layer, x)
        ran = []
        for name, row in list(forms.FORMS.items()):
            compute = lambda call, name=name, row=row: ran.append(name) or row.compute(call)  # noqa: E731
            monkeypatch.setitem(forms.FORMS, name, forms.Form(compute, row.refused))
        layer(x)
    assert ran == [form]
    assert [name for name, reason in rows.items() if reason == "runs"] == [form]
    assert capsys.readouterr().out.splitlines() == [f"{name:<12}{reason}" for name, reason in rows.items()]
    refused = list(rows)[: list(rows).index(form)]
    assert all(rows[name] not in ("", "runs", "not needed") for name in refused)


def test_explain_says_what_it_takes():
    with pytest.raises(TypeError, match="explain: expected a CoordConv, got Conv2D"):
        pcc.explain(paddle.nn.Conv2D(1, 1, 1), paddle.zeros([1, 1, 2, 2]))
    with pytest.raises(TypeError, match="explain: expected a CoordConv, got GridConv2D"):
        pcc.explain(pcc.CoordConv(1, 1, 1).conv, paddle.zeros([1, 1, 2, 2]))
    with pytest.raises(ValueError, match="must have 4 axes, got 3"):
        pcc.explain(pcc.CoordConv(1, 1, 1), paddle.zeros([1, 1, 2]))


def test_explain_takes_either_layout():
    first, last = (pcc.CoordConv(4, 32, 3, data_format=layout) for layout in ("NCHW", "NHWC"))
    x = paddle.randn([1, 4, 5, 7])
    assert pcc.explain(last, x.transpose([0, 2, 3, 1])) == pcc.explain(first, x)
    assert last.call_for(x.transpose([0, 2, 3, 1])).x.shape == first.call_for(x).x.shape == [1, 4, 5, 7]
    with pytest.raises(ValueError, match="in_channels=4"):
        pcc.explain(last, x)


def test_what_exporters_call_has_graphs_concatenate_where_there_is_one_group():
    for groups, form in ((1, "concat"), (2, None)):
        layer = pcc.CoordConv(4, 4, 3, groups=groups)
        before = layer.conv.form_in_graphs
        layer.convert_to_deploy()
        assert layer.conv.form_in_graphs == (form or before) != (None if form else "concat")


def test_a_form_of_ones_own_is_chosen_like_the_others(monkeypatch):
    """A row before the others is all that it takes."""
    mine = forms.Form(lambda call: forms.split(call) * 2, lambda call: "")
    rows = {"mine": mine, **forms.FORMS}
    layer, x = pcc.CoordConv(3, 4, 3), paddle.randn([2, 3, 9, 9])
    expected = 2 * layer(x)
    monkeypatch.setattr(forms, "FORMS", rows)
    assert_same([layer(x).numpy()], [expected.numpy()], 1e-5)


def test_concatenated_here_is_what_the_layer_writes_out():
    """The plain reference of these tests, against one written by hand."""
    layer = pcc.CoordConv(2, 3, 1, bias_attr=False)
    x = paddle.randn([1, 2, 2, 2])
    configuration = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "data_format": "NCHW"}
    configuration.update(coords="paddle", with_r=False)
    weight, features = layer.conv.weight.numpy()[:, :, 0, 0], x.numpy()[0]
    planes = np.concatenate([features, [[[-1, 1], [-1, 1]], [[-1, -1], [1, 1]]]])
    by_hand = np.einsum("oc,chw->ohw", weight, planes)[None]
    np.testing.assert_allclose(
        concatenated(layer, x, paddle.nn.functional.conv2d, configuration).numpy(), by_hand, rtol=1e-5
    )


@pytest.mark.parametrize("form", ["concat", "matmul"])
@pytest.mark.parametrize("name", ["CoordConv1D", "CoordConv2D"])
def test_gradients_of_gradients(form, name):
    """Those of a penalty on the weights' gradients, against the concatenation's."""
    layer = getattr(pcc, name)(3, 4, 3).to(dtype="float64")
    x = paddle.randn([2, 3] + [6] * layer.rank, "float64")
    x.stop_gradient = False
    grid = pcc.coord_grid(x.shape[2:], dtype="float64")
    conv = forms.CONV[layer.rank, layer.transposed]

    def of_concatenation(x):
        constant = grid.expand([2, -1] + x.shape[2:]).clone()
        constant.stop_gradient = False  # else Paddle's own has no second gradient
        return conv(paddle.concat([x, constant], axis=1), layer.conv.weight, layer.conv.bias)

    found = []
    for compute in (in_form(layer, form), of_concatenation):
        gradients = paddle.grad((compute(x) ** 3).sum(), [x, layer.conv.weight], create_graph=True)
        penalty = sum((gradient**2).sum() for gradient in gradients)
        found.append([g.numpy() for g in paddle.grad(penalty, [x, layer.conv.weight])])
    assert_same(*found, 1e-9)


@pytest.mark.skipif(not compat.is_paddle_3(), reason="Paddle 2's convolutions refuse an empty batch")
@pytest.mark.parametrize("name", FAMILY)
def test_an_empty_batch_has_gradients(name):
    layer = getattr(pcc, name)(3, 4, 3)
    x = paddle.zeros([0, 3] + [6] * layer.rank)
    x.stop_gradient = False
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert not layer.conv.weight.grad.numpy().any()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((np.zeros([2, 3, 5, 5]), None, None, None), {}, "x: expected a Tensor, got ndarray"),
        ((None, [5, 5], None, None), {}, "grid: expected a Tensor, got list"),
        ((None, None, None, 3), {}, "bias: expected a Tensor, got int"),
        ((None, None, None, paddle.zeros([1])), {}, r"bias: expected \[4\], got \[1\]"),
        ((None, None, None, paddle.zeros([4, 1])), {}, r"bias: expected \[4\], got \[4, 1\]"),
        ((None, None, None, None), {"form": []}, r"form: expected one of concat, .*, got \[\]"),
    ],
)
def test_what_is_no_tensor_is_said(arguments, options, words):
    good = paddle.zeros([2, 3, 5, 5]), pcc.coord_grid([5, 5]), paddle.zeros([4, 5, 1, 1]), paddle.zeros([4])
    given = [one if other is None else other for one, other in zip(good, arguments)]
    with pytest.raises((TypeError, ValueError), match=words):
        pcc.functional.coord_conv(*given, **options)
