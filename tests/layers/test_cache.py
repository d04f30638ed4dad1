"""What a layer keeps between calls: the right thing, for every thread, and never more than the output."""

import copy
import pickle
import threading

import numpy as np
import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.layers.cache import LastResult


def counted(result):
    calls = []

    def compute():
        calls.append(1)
        return result

    return compute, calls


def test_it_computes_once_for_the_same_inputs():
    grid, values, cache = paddle.ones([3]), [np.ones(2)], LastResult()
    compute, calls = counted(paddle.zeros([4]))
    assert cache((grid, (1, None)), values, compute, 4) is cache((grid, (1, None)), [np.ones(2)], compute, 4)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (lambda grid: (paddle.ones([3]), (1, None)), [np.ones(2)]),
        (lambda grid: (grid, (2, None)), [np.ones(2)]),
        (lambda grid: (grid,), [np.ones(2)]),
        (lambda grid: (grid, (1, None)), [np.array([1, 1 + 1e-12])]),
        (lambda grid: (grid, (1, None)), []),
    ],
    ids=["another grid of equal values", "another number", "a shorter key", "another value", "no values"],
)
def test_it_computes_anew_for_others(key, values):
    grid, cache = paddle.ones([3]), LastResult()
    compute, calls = counted(paddle.zeros([4]))
    cache((grid, (1, None)), [np.ones(2)], compute, 4)
    cache(key(grid), values, compute, 4)
    assert len(calls) == 2


def test_it_keeps_nothing_that_is_too_large():
    cache = LastResult()
    compute, calls = counted(paddle.zeros([5]))
    for _ in range(2):
        cache(("key",), [], compute, 4)
    assert len(calls) == 2
    small, _ = counted(paddle.zeros([4]))
    cache(("key",), [], small, 4)
    cache(("other",), [], compute, 4)
    assert cache._entry is None


def test_copies_and_pickles_are_empty():
    cache = LastResult()
    compute, calls = counted(paddle.zeros([1]))
    cache(("key",), [], compute, 1)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        other(("key",), [], compute, 1)
    assert len(calls) == 3


@pytest.mark.parametrize("gradients", [True, False])
def test_threads_that_share_a_layer_get_their_own_results(gradients):
    """In eval, with gradients and without, on maps of two sizes: what is kept for one thread is not another's."""
    layer = pcc.CoordConv(2, 16, 3, padding=1)
    layer.eval()
    inputs = [paddle.ones([4, 2, 20, 20]), paddle.ones([4, 2, 20, 21]), paddle.ones([4, 2, 8, 50])]
    expected = [layer(x).numpy() for x in inputs]
    wrong, errors = [], []

    def work(start):
        try:
            with paddle.set_grad_enabled(gradients):
                for i in range(200):
                    which = (start + i) % len(inputs)
                    if not np.allclose(layer(inputs[which]).numpy(), expected[which], atol=1e-5):
                        wrong.append(which)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, errors) == ([], [])


def allocated():
    return paddle.base.core.host_memory_stat_current_value("Allocated", 0)


def peak_of(step):
    before = allocated()
    paddle.base.core.host_memory_stat_reset_peak_value("Allocated", 0)
    step()
    return paddle.base.core.host_memory_stat_peak_value("Allocated", 0) - before


@pytest.mark.skipif(not hasattr(paddle.base.core, "host_memory_stat_reset_peak_value"), reason="no such statistics")
@pytest.mark.parametrize("batch", [1, 2])
def test_a_large_map_holds_little_memory(batch):
    """After a training step with a 7x7 kernel a layer holds at most its output's size, and its peak is Conv2D's."""

    def step_of(layer, x):
        def step():
            layer(x).sum().backward()
            layer.clear_gradients(set_to_zero=False)
            x.clear_gradient(set_to_zero=False)

        return step

    size, channels = 512, 8
    x = paddle.ones([batch, 3, size, size])
    x.stop_gradient = False
    plain, layer = paddle.nn.Conv2D(3, channels, 7, padding=3), pcc.CoordConv(3, channels, 7, padding=3)
    pcc.grids.grid_of(x, layer.convention, False)  # all layers share it
    of_plain = peak_of(step_of(plain, x))
    before = allocated()
    of_layer = peak_of(step_of(layer, x))
    assert of_layer <= 1.15 * of_plain
    output = batch * channels * size * size * 4
    assert allocated() - before <= output
    layer.eval()
    with paddle.no_grad():
        layer(x)
    assert allocated() - before <= output
