"""The fast backward pass against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from perception.kernels.depthwise_gradient import depthwise_weight_gradient
from perception.models.frozen_norm import FrozenNormConv
from perception.training.depthwise import FastDepthwise, fast_depthwise


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 1, 2), (3, 2, 0), (5, 2, 0)])
def test_gradients_equal_those_of_torch(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(kernel + stride)
    # an odd size where nothing is padded, as the backbone's padded inputs have
    size = (2, 6, 11, 15) if padding == 0 else (2, 6, 10, 14)
    features = torch.randn(size).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(6, 1, kernel, kernel), torch.randn(6)
    results = []
    for function in (
        FastDepthwise.apply,
        lambda *arguments: functional.conv2d(*arguments, groups=6),
    ):
        given = [tensor.clone().requires_grad_() for tensor in (features, weight, bias)]
        out = function(*given, stride, padding)
        (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
        results.append([out, *(tensor.grad for tensor in given)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (5, 1, 2), (3, 2, 0), (5, 2, 0)])
def test_half_precision_gives_what_the_same_numbers_give_in_single_precision(
    kernel: int, stride: int, padding: int
) -> None:
    torch.manual_seed(10 * kernel + stride)
    size, out_size = ((2, 11, 15, 6), (2, (11 - kernel) // 2 + 1, (15 - kernel) // 2 + 1, 6))
    if stride == 1:
        size = out_size = (2, 10, 14, 6)
    features, gradient = (torch.randn(each).to(torch.bfloat16) for each in (size, out_size))
    expected = depthwise_weight_gradient(features.float().numpy(), gradient.float().numpy(), kernel, stride, padding)
    bits = [tensor.view(torch.uint16).numpy() for tensor in (features, gradient)]
    np.testing.assert_array_equal(depthwise_weight_gradient(*bits, kernel, stride, padding), expected)
    # and through autograd, where the input's gradient is rounded to half precision
    given = [
        features.permute(0, 3, 1, 2).clone().requires_grad_(),
        torch.randn(6, 1, kernel, kernel, requires_grad=True),
        torch.zeros(6, requires_grad=True),
    ]
    FastDepthwise.apply(*given, stride, padding).backward(gradient.permute(0, 3, 1, 2))
    assert given[1].grad is not None and given[2].grad is not None
    np.testing.assert_array_equal(given[1].grad[:, 0].permute(1, 2, 0).numpy(), expected)
    torch.testing.assert_close(given[2].grad, gradient.float().sum((0, 1, 2)), rtol=2e-2, atol=0.1)


def test_features_that_need_no_gradient_get_none() -> None:
    features = torch.randn(1, 4, 6, 6)
    weight = torch.randn(4, 1, 3, 3, requires_grad=True)
    FastDepthwise.apply(features, weight, torch.zeros(4), 1, 1).sum().backward()
    assert weight.grad is not None
    assert features.grad is None


def test_networks_use_it_only_inside_the_block() -> None:
    before = FrozenNormConv.depthwise
    with fast_depthwise():
        assert FrozenNormConv.depthwise is not before
        out = FrozenNormConv(4, 4, 3, groups=4)(torch.randn(1, 4, 6, 6))
        out.sum().backward()
    assert FrozenNormConv.depthwise is before


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="must agree in images and channels"):
        depthwise_weight_gradient(np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 4, 4, 2), np.float32), 3, 1, 1)
    with pytest.raises(ValueError, match=r"must be \(N, H, W, C\)"):
        depthwise_weight_gradient(np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.float32), 3, 1, 1)
