"""GraSP: what removing weights does to the gradient flow (Wang, Zhang & Grosse 2020, eq. 8), for kernels."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from viscnn.engine.batch import Batch
from viscnn.engine.capture import Intervention, convolve, record
from viscnn.engine.criteria.registry import Scores, criterion

__all__ = ["grasp"]


@criterion("grasp", "weight x Hessian-gradient product: the gradient flow lost with the kernel", signed=True)
def grasp(batch: Batch) -> Iterator[Scores]:
    """Kernel: mean_k sum_e W_oie (H_k g_k)_oie with g_k = dT_k/dW, H_k its Hessian; filter: sum over its kernels.

    The paper scores with the opposite sign and removes the highest; here, as everywhere, higher is more important.
    H g is the gradient of (g . constant copy of g), so H is never stored.

    The flow is that of the kernels. An identity of a sum, whose weight is 1, scores by the gradient of that flow for
    its weight: what is lost with it, as for a kernel; but it adds nothing to the flow, and changes no kernel's score.
    """
    each = [_one_image(batch, number) for number in range(len(batch.images))]  # per image: a list over layers
    for of_images in zip(*each, strict=True):
        kernels = torch.stack(of_images)  # (N, O, I)
        yield Scores(kernels.sum(dim=0), kernels.sum(dim=2))


def _one_image(batch: Batch, number: int) -> list[Tensor]:
    """Kernel scores (filters, inputs) of every scored layer for one image of the batch."""
    layers, target = batch.scored, batch.target
    weights = [batch.architecture.convolution(layer).weight.detach().requires_grad_() for layer in layers]
    label = batch.class_numbers[number : number + 1] if target.needs_labels else torch.zeros(1, dtype=torch.int64)
    with torch.enable_grad():
        recording = record(
            batch.architecture,
            batch.images[number : number + 1],
            last=target.last,
            last_activated=target.last_activated,
            interventions={layer.name: _with(weight) for layer, weight in zip(layers, weights, strict=True)},
            sparing=[layer.name for layer in target.layers],
        )
        total = target.values(recording, label).sum()
        kernels = [weight for layer, weight in zip(layers, weights, strict=True) if not layer.is_sum]
        flow = _flow(total, kernels)
        if not flow.requires_grad:  # T is linear in all weights: nothing curves
            return [torch.zeros(layer.filters, layer.inputs).to(flow) for layer in layers]
        second = torch.autograd.grad(flow, weights, materialize_grads=True)
    return [(weight * each).sum(dim=(2, 3)).detach() for weight, each in zip(weights, second, strict=True)]


def _flow(total: Tensor, weights: list[Tensor]) -> Tensor:
    """sum of g . constant copy of g over the gradients g of T for the weights."""
    if not weights:
        return torch.zeros_like(total.detach())
    first = torch.autograd.grad(total, weights, create_graph=True, materialize_grads=True)
    return torch.stack([(each * each.detach()).sum() for each in first]).sum()


def _with(weight: Tensor) -> Intervention:
    def convolution(x: Tensor, of: nn.Conv2d) -> Tensor:
        return convolve(x, of, weight, of.bias)

    return convolution
