"""What one inference costs, counted at PyTorch's dispatcher: every operation that runs is seen, whichever layer asked for it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


def macs(module: nn.Module, shape: Sequence[int]) -> int:
    """Multiply-accumulate operations of all matrix products and convolutions for one input of this shape."""
    counter = FlopCounterMode(display=False)
    with _by_plain_operations(), counter:
        module(torch.zeros(1, *shape))
    return int(counter.get_total_flops()) // 2


def memory(module: nn.Module, shape: Sequence[int]) -> int:
    """Bytes when loaded: the weights, and the most that is alive at once while one input of this shape is inferred."""
    weights = list({id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}.values())
    watch = _Alive(weights)
    with _by_plain_operations(), watch:
        module(torch.zeros(1, *shape))
    return sum(weight.nbytes for weight in weights) + watch.peak


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches which storages live after each operation; the weights' own do not count."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._weights:
                    self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
        ended = [key for key, (ref, _) in self._alive.items() if ref.expired()]  # type: ignore[no-untyped-call]
        for key in ended:
            del self._alive[key]
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


@contextmanager
def _by_plain_operations() -> Iterator[None]:
    """Attention, transformer and recurrent layers as the products that they are made of, not as one fused operation."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # setting oneDNN's flags warns of GPUs that are not there
            with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
                yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
