"""What makes the results of PyTorch and NumPy those of every x86-64 processor with AVX2 and FMA, whatever else it can do.

Imports neither: the environment has to be set before they start.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions, GELU
    "MKL_CBWR": "COMPATIBLE",  # matrix products and elementary functions: the only branch that AMD and Intel share
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",  # NumPy's elementary functions
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's linear algebra
    "OMP_NUM_THREADS": "1",  # sums are split by threads
    "MKL_NUM_THREADS": "1",  # would otherwise go before OMP_NUM_THREADS
    "OPENBLAS_NUM_THREADS": "1",
}


def sqrt(values: "Tensor") -> "Tensor":
    """Return the square roots of float tensors without a negative value, the same on every processor.

    `torch.sqrt` is not: MKL's starts from the instruction `rsqrtps`, an approximation that each maker tabulates in his own
    way, and what it returns is wrongly rounded in a fifth of the cases. `torch.rsqrt` is an IEEE square root and a division.
    """
    return values.rsqrt().reciprocal()
