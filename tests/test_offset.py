"""Adding an offset to each sample: for one sample or for all, in place where nobody looks at what was there before."""

import numpy as np
import paddle
import pytest

from ppcoordconv.offset import add_offset, add_offset_in_place, repeat_offset


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("shape", [[1, 2, 3, 4], [5, 2, 3, 4], [1, 2, 1, 1]])
def test_it_is_added_to_each_sample(gradients, shape):
    y, offset = paddle.randn([5, 2, 3, 4]), paddle.randn(shape)
    before, expected = y.numpy().copy(), y.numpy() + offset.numpy()
    offset.stop_gradient = not gradients
    got = add_offset(y, offset)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)
    assert got.shape == [5, 2, 3, 4]
    if gradients:
        np.testing.assert_array_equal(y.numpy(), before)
        got.sum().backward()
        # Each of its values was added to as many of y's.
        np.testing.assert_allclose(offset.grad.numpy(), np.full(shape, 5 * 24 / np.prod(shape)))
    else:
        np.testing.assert_array_equal(y.numpy(), got.numpy())


@pytest.mark.parametrize("of", ["features", "offset"])
def test_what_has_a_gradient_is_not_overwritten(of):
    y, offset = paddle.randn([3, 2, 4, 4]), paddle.randn([3, 2, 4, 4])
    (y if of == "features" else offset).stop_gradient = False
    before = y.numpy().copy()
    add_offset(y, offset)
    np.testing.assert_array_equal(y.numpy(), before)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ([8, 1, 1, 2**18], 4),
        ([8, 2, 1, 2**18], 2),
        ([3, 1, 1, 2**18], 3),
        ([4, 1, 2, 2**20], 1),
        ([1, 1, 1, 4], 1),
        ([300, 1, 1, 4], 300),
    ],
)
def test_a_block_is_of_a_million_values_or_of_the_whole_batch(shape, count):
    y, offset = paddle.zeros(shape), paddle.randn([1, *shape[1:]])
    block = repeat_offset(y, offset)
    assert block.shape == [count, *shape[1:]]
    np.testing.assert_array_equal(block.numpy(), np.repeat(offset.numpy(), count, axis=0))
    half = repeat_offset(y.astype("float16"), offset)
    assert half.dtype == paddle.float16


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_a_block_is_added_to_every_so_many_samples(step):
    y, offset = paddle.randn([5, 2, 3]), paddle.randn([1, 2, 3])
    expected = y.numpy() + offset.numpy()
    block = paddle.tile(offset, [min(step, 5), 1, 1])
    np.testing.assert_allclose(add_offset_in_place(y, block).numpy(), expected, rtol=1e-6)
