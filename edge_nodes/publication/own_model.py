"""What a user gives to be published: `my_model.py:build`, a safetensors file and `my_data.py:held_out`; read, and tried."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edge_nodes.models import adapt, programs
from edge_nodes.models.adapt import Unfit
from edge_nodes.models.elastic import Elastic
from edge_nodes.publication import published

TRIAL = 64  # held-out inputs that a module is tried on before anything is measured
_PICKLES = (b"PK\x03\x04", b"\x80")  # torch.save since 1.6, and before


class Source(NamedTuple):
    """What a user gives: files and functions, and what is to be said of the model."""

    build: str  # FILE.py:FUNCTION
    weights: Path
    held_out: str  # FILE.py:FUNCTION
    model: str
    licence: str = ""
    source: str = ""


class HeldOut(NamedTuple):
    """Inputs float32 `[N, …]` and labels int64 `[N]`."""

    inputs: Tensor
    labels: Tensor


class Given(NamedTuple):
    """What these files hold, when it fits together."""

    program: bytes
    build: Callable[[], nn.Module]  # a new module each time, without its weights
    trained: nn.Module
    held_out: HeldOut
    base: str | None
    of_base: HeldOut | None
    outputs: int  # of the module, as one for each exit


def read(source: Source, folder: Path) -> Given:
    """Read what is to be published in the library `folder`. Raises Unfit, ProgramError, or LibraryError for the folder."""
    there = published.held_out_shapes(folder)
    file, _ = programs.split(source.build)
    program = programs.read(file)
    weights = read_weights(source.weights)
    module = _module(source.build, program)
    if isinstance(module, Elastic) and not any(".norm." in name for name in weights):
        module.fold()  # as the one was whose weights these are
    adapt.fill(module, weights, str(source.weights))
    if isinstance(module, Elastic):
        module.fold()
    held_out = read_held_out(source.held_out)
    base, of_base = _base(source, folder, there, held_out)
    outputs = _try(source, module.eval(), held_out)
    return Given(program, partial(_module, source.build, program), module, held_out, base, of_base, outputs)


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; those of floats as float32. Raises Unfit."""
    if not file.is_file():
        raise Unfit(f"{file}: no such file")
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        with file.open("rb") as opened:
            if not opened.read(4).startswith(_PICKLES):
                raise Unfit(f"{file}: not a safetensors file: {error}") from None
        right = f'safetensors.torch.save_file(model.state_dict(), "{file.with_suffix(".safetensors").name}")'
        raise Unfit(f"{file}: a pickle, which can run code when it is read; write {right}") from None
    except OSError as error:
        raise Unfit(f"{file}: {error.strerror or error}") from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def read_held_out(reference: str) -> HeldOut:
    """What a user's function gives, as tensors. Raises Unfit or ProgramError."""
    file, function = programs.split(reference)
    given = programs.result_of(programs.read(file), file, function, beside=True)
    right = f"{reference}: has to give (inputs, labels): float32 [N, …] and int64 [N]; "
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise Unfit(
            f"{right}it gives a {type(given).__name__}{f' of {len(given)}' if isinstance(given, (tuple, list)) else ''}"
        )
    inputs, labels = (torch.from_numpy(part) if isinstance(part, np.ndarray) else part for part in given)
    for what, tensor, kind in (("inputs", inputs, torch.float32), ("labels", labels, torch.int64)):
        if not isinstance(tensor, Tensor):
            raise Unfit(f"{right}its {what} are a {type(tensor).__name__}")
        if tensor.dtype != kind:
            raise Unfit(f"{right}its {what} are of {str(tensor.dtype).removeprefix('torch.')}")
    if inputs.dim() < 2 or labels.dim() != 1 or len(inputs) != len(labels) or len(labels) < 2:
        raise Unfit(f"{right}its inputs are {list(inputs.shape)} and its labels {list(labels.shape)}")
    if not inputs.isfinite().all():
        raise Unfit(f"{reference}: {int((~inputs.isfinite()).sum())} values of its inputs are no finite numbers")
    if labels.min() < 0:
        raise Unfit(f"{reference}: its labels begin at {int(labels.min())}; they count from 0")
    return HeldOut(inputs.contiguous(), labels.contiguous())


def _module(reference: str, program: bytes) -> nn.Module:
    file, function = programs.split(reference)
    module = programs.result_of(program, file, function)
    if not isinstance(module, nn.Module):
        raise Unfit(f"{reference}: has to give a torch.nn.Module; it gives a {type(module).__name__}")
    return module.float()


def _base(
    source: Source, folder: Path, there: Mapping[str, list[int]], held_out: HeldOut
) -> tuple[str | None, HeldOut | None]:
    """The model that `name@situation` specialises, and its held-out set. Raises Unfit."""
    name, at, _ = source.model.partition("@")
    if not at:
        return None, None
    if f"{name}/images" not in there:
        raise Unfit(f"{source.model}: specialises {name}, which is not in {folder}; publish {name} first")
    own, of_base = list(held_out.inputs.shape[1:]), there[f"{name}/images"][1:]
    if own != of_base:
        raise Unfit(f"{source.model}: its inputs are {own}, those of {name} {of_base}; they have to be alike")
    tensors = load_file(folder / "held_out.safetensors")
    return name, HeldOut(tensors[f"{name}/images"], tensors[f"{name}/labels"])


def _try(source: Source, module: nn.Module, held_out: HeldOut) -> int:
    """How many outputs the module gives, as one for each exit.

    Raises Unfit where it does not run on its held-out set, or gives something else than logits.
    """
    inputs = held_out.inputs[:TRIAL]
    try:
        with torch.inference_mode():
            logits = module(inputs)[-1, -1] if isinstance(module, Elastic) else module(inputs)
    except Exception as error:  # whatever the user's code raises
        said = str(error).partition("\n")[0]
        raise Unfit(
            f"{source.build}: does not run on inputs {list(inputs.shape)}: {type(error).__name__}: {said}"
        ) from None
    every = list(logits) if isinstance(logits, (list, tuple)) else [logits]
    logits = every[-1] if every else None
    classes = int(held_out.labels.max()) + 1
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(inputs) or logits.shape[1] < classes:
        given = list(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise Unfit(
            f"{source.build}: has to give logits [{len(inputs)}, classes], at least {classes} classes; it gives {given}"
        )
    return len(every)
