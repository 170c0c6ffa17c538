"""A user's own module, trained for a moment on real digits, becomes a model in a library; what is wrong is said in a line."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs
from safetensors.torch import load_file, save_file
from torch import nn

from edge_nodes.devices.factory import Factory
from edge_nodes.models import adapt, codec
from edge_nodes.models.manifest import Manifest, Variant
from edge_nodes.models.programs import ProgramError, result_of
from edge_nodes.publication import own_model, published, publishing, situations
from edge_nodes.publication.measuring import Seen, accuracy_of
from edge_nodes.publication.own_model import Source
from insitu import own_library

PROGRAM = """
from torch import nn

class Staged(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU())
        self.stages = nn.ModuleList(nn.Sequential(nn.Linear(48, 48), nn.ReLU()) for _ in range(2))
        self.exits = nn.ModuleList(nn.Linear(48, 10) for _ in range(2))

    def forward(self, x):
        x = self.stem(x)
        logits = []
        for stage, exit in zip(self.stages, self.exits):
            x = stage(x)
            logits.append(exit(x))
        return logits

def staged():
    return Staged()

def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10),
    )
"""
DATA = """
from edge_nodes.publication import situations
def held_out():
    part = situations.split()[2]
    return part.images, part.labels
def elsewhere():
    images, labels = held_out()
    return 1 - images, labels
"""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine threads wait for one another, many times as long as they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def folder_of(folder: Path, function: str) -> Source:
    """A user's folder: a program, weights that were trained for it, and data."""
    (folder / "my_model.py").write_text(PROGRAM)
    (folder / "my_data.py").write_text(DATA)
    torch.manual_seed(0)
    module = result_of(PROGRAM.encode(), folder / "my_model.py", function)
    train = situations.split()[0]
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(150):
        chosen = torch.randint(len(train.labels), (100,))
        logits = module(train.images[chosen])
        loss = sum(
            nn.functional.cross_entropy(each, train.labels[chosen])
            for each in (logits if isinstance(logits, list) else [logits])
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(module.state_dict(), folder / "w.safetensors")
    return Source(
        f"{folder}/my_model.py:{function}",
        folder / "w.safetensors",
        f"{folder}/my_data.py:held_out",
        "signs",
        "MIT",
        "made here",
    )


class Published:
    def __init__(self, folder: Path, function: str) -> None:
        self.source, self.lines = folder_of(folder, function), list[str]()
        self.folder = folder / "library"
        self.manifest = publishing.publish(self.source, self.folder, self.lines.append)

    def blocks(self, variant: Variant) -> dict[str, bytes]:
        store = self.folder / "blocks"
        return {
            b.digest: (store / b.digest.removeprefix("sha256:")).read_bytes() for b in self.manifest.blocks_of(variant)
        }


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("staged"), "staged")


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("convolutional"), "convolutional")


def test_a_module_with_stages_and_linear_layers_gives_depth_width_and_bits(staged: Published) -> None:
    names = [f"d{d}w{w}b{b}" for d in (1, 2) for w in (1, 2, 3, 4, 5) for b in (1, 2, 3, 4)]
    assert [variant.name for variant in staged.manifest.variants] == [*names, "file"]
    said = "\n".join(staged.lines)
    assert "depth: 2 stages, with an exit each" in said and "width: 5 widths" in said and "bits: 4 levels" in said


def test_what_a_module_does_not_give_is_said(convolutional: Published) -> None:
    assert [variant.name for variant in convolutional.manifest.variants] == [
        "d1w1b1",
        "d1w1b2",
        "d1w1b3",
        "d1w1b4",
        "file",
    ]
    said = "\n".join(convolutional.lines)
    assert "depth: none: it has no `stages` and `exits`" in said
    assert "width: none: it has no linear layer of rank over 8" in said


@pytest.mark.parametrize("kind", ["staged", "convolutional"])
def test_a_device_gets_what_the_manifest_says(kind: str, request: pytest.FixtureRequest) -> None:
    made: Published = request.getfixturevalue(kind)
    held_out = load_file(made.folder / "held_out.safetensors")
    images, labels = held_out["signs/images"], held_out["signs/labels"]
    factory = Factory(made.folder)
    for variant in made.manifest.variants:
        network = factory.build(made.manifest, variant, made.blocks(variant))
        assert isinstance(network, adapt.Runnable)
        with torch.inference_mode():
            assert accuracy_of(network(images), Seen(images, labels, 1)) == (variant.accuracy, variant.accuracy_se)
        assert (network.macs(), network.memory()) == (variant.macs, variant.memory)
        assert variant.bytes == sum(len(block) for block in made.blocks(variant).values())


@pytest.mark.parametrize("kind", ["staged", "convolutional"])
def test_the_file_is_the_users_module_and_the_largest_variant_is_as_good(
    kind: str, request: pytest.FixtureRequest
) -> None:
    made: Published = request.getfixturevalue(kind)
    module = result_of(PROGRAM.encode(), made.source.weights.with_name("my_model.py"), kind)
    module.load_state_dict(load_file(made.source.weights))
    module.eval()
    images, labels = situations.split()[2]
    logits = module(images)
    right = ((logits[-1] if isinstance(logits, list) else logits).argmax(1) == labels).double().mean().item()
    file, largest = made.manifest.variant("file"), made.manifest.variants[-2]
    assert file.accuracy == pytest.approx(right, abs=1e-6) and not file.pareto
    assert largest.accuracy == pytest.approx(right, abs=0.01)
    assert largest.bytes < file.bytes / 3


def test_less_of_a_model_costs_less(staged: Published) -> None:
    of = {(v.depth, v.width, v.bits): v for v in staged.manifest.variants if v.bits}
    for (depth, width, bits), variant in of.items():
        for more in ((depth + 1, width, bits), (depth, width + 1, bits), (depth, width, bits + 1)):
            if more in of:
                assert of[more].bytes > variant.bytes
                assert of[more].macs >= variant.macs and of[more].memory >= variant.memory
                assert set(of[more].blocks) > set(variant.blocks)
    front = [v for v in staged.manifest.variants if v.pareto]
    assert front and not any(o.bytes <= v.bytes and o.accuracy > v.accuracy for v in front for o in of.values())


def test_a_library_is_whole_and_names_no_path(staged: Published) -> None:
    assert published.faults(staged.folder) == []
    manifest = Manifest.load(staged.folder / "manifests" / "signs.json")
    assert manifest == staged.manifest
    assert (manifest.licence, manifest.source) == ("MIT", "made here")
    assert str(staged.folder.parent).encode() not in manifest.to_json()


def test_publishing_twice_changes_nothing(tmp_path: Path) -> None:
    made = Published(tmp_path, "convolutional")
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (made.folder / "blocks").iterdir()}
    again = publishing.publish(made.source, made.folder, made.lines.append)
    assert again == made.manifest
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in (made.folder / "blocks").iterdir()} == before
    assert not [file for file in made.folder.rglob("*") if file.name.endswith(".partial")]


def test_a_specialisation_is_measured_on_its_base_too(tmp_path: Path) -> None:
    made = Published(tmp_path, "convolutional")
    source = made.source._replace(
        model="signs@elsewhere", held_out=made.source.held_out.replace("held_out", "elsewhere")
    )
    manifest = publishing.publish(source, made.folder, made.lines.append)
    assert manifest.base == "signs"
    assert [v.accuracy_clear for v in manifest.variants] == [v.accuracy for v in made.manifest.variants]
    assert manifest.variants[-1].accuracy < made.manifest.variants[-1].accuracy - 0.1
    assert published.faults(made.folder) == []
    assert {b.digest for b in manifest.blocks} == {b.digest for b in made.manifest.blocks}  # the same weights
    images, labels = np.zeros((2, 3), np.float32), np.arange(2)
    published.add(made.folder, structs.replace(made.manifest, model="lights"), {}, images, labels, PROGRAM.encode())
    with pytest.raises(
        adapt.Unfit, match=r"lights@on: its inputs are \[1, 8, 8\], those of lights \[3\]; they have to be"
    ):
        publishing.publish(source._replace(model="lights@on"), made.folder, made.lines.append)
    (made.folder / "held_out.safetensors").write_bytes(b"broken")
    with pytest.raises(published.LibraryError, match="held_out.safetensors: not a safetensors file"):
        publishing.publish(source, made.folder, made.lines.append)
    (made.folder / "held_out.safetensors").unlink()
    with pytest.raises(adapt.Unfit, match=r"lights@dark: specialises lights, which is not in .*; publish lights first"):
        publishing.publish(source._replace(model="lights@dark"), made.folder, made.lines.append)


@pytest.mark.parametrize("folded", [False, True])
def test_a_network_of_elastic_layers_is_published_as_it_was_composed(tmp_path: Path, folded: bool) -> None:
    program = (
        "from edge_nodes.models import networks\ndef build():\n  return networks.residual((1, 1), stages=2, blocks=1)\n"
    )
    (tmp_path / "my_model.py").write_text(program)
    (tmp_path / "my_data.py").write_text(DATA)
    network = result_of(program.encode(), tmp_path / "my_model.py", "build")
    network(situations.split()[0].images)  # gives the norms their statistics
    if folded:
        network.eval().fold()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    source = Source(
        f"{tmp_path}/my_model.py:build", tmp_path / "w.safetensors", f"{tmp_path}/my_data.py:held_out", "signs"
    )
    manifest = publishing.publish(source, tmp_path / "library", lambda _: None)
    names = [f"d{d}w{w}b{b}" for d in (1, 2) for w in (1, 2) for b in (1, 2, 3, 4)]
    assert [variant.name for variant in manifest.variants] == [*names, "file"]
    assert manifest.network["kind"] == "layers" and not (tmp_path / "library" / "programs").exists()
    assert published.faults(tmp_path / "library") == []
    images = situations.split()[2].images
    store = tmp_path / "library" / "blocks"
    blocks = {b.digest: (store / b.digest.removeprefix("sha256:")).read_bytes() for b in manifest.blocks}
    runs = Factory(tmp_path / "library").build(manifest, manifest.variant("d2w2b4"), blocks)
    with torch.inference_mode():
        same = (runs(images).argmax(1) == network.eval()(images)[-1, -1].argmax(1)).double().mean()
    assert same > 0.95


def test_a_run_has_the_programs_of_a_users_models(
    staged: Published, convolutional: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSITU_CACHE", str(tmp_path))
    manifest = convolutional.manifest
    renamed = structs.replace(manifest, model="other")
    own = tmp_path / "own"
    held_out = load_file(convolutional.folder / "held_out.safetensors")
    contents = {digest: data for v in manifest.variants for digest, data in convolutional.blocks(v).items()}
    published.add(
        own, renamed, contents, held_out["signs/images"].numpy(), held_out["signs/labels"].numpy(), PROGRAM.encode()
    )
    folder = own_library.joined(staged.folder, own)
    assert isinstance(Factory(folder).build(renamed, renamed.variants[0], contents), adapt.Runnable)
    (program,) = (own / "programs").iterdir()
    program.write_text("changed")
    (own / "manifests" / "other.json").write_bytes(structs.replace(renamed, licence="another").to_json())
    with pytest.raises(own_library.BrokenLibrary, match=f"{program}: its bytes are not those that its name promises"):
        own_library.joined(staged.folder, own)


@pytest.fixture
def user(tmp_path: Path) -> Source:
    """A folder with untrained weights, quick to make."""
    (tmp_path / "my_model.py").write_text(PROGRAM)
    (tmp_path / "my_data.py").write_text(DATA)
    module = result_of(PROGRAM.encode(), tmp_path / "my_model.py", "staged")
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    return Source(
        f"{tmp_path}/my_model.py:staged", tmp_path / "w.safetensors", f"{tmp_path}/my_data.py:held_out", "signs"
    )


def refused(source: Source, folder: Path) -> str:
    with pytest.raises((adapt.Unfit, ProgramError)) as raised:
        publishing.publish(source, folder / "library", lambda _: None)
    assert not (folder / "library").exists()
    assert "\n" not in str(raised.value)
    return str(raised.value)


NN = "from torch import nn\ndef build(): "
TWO = """class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(64, 10)
    def forward(self, x):
        return [self.out(x.flatten(1))] * 2
"""


def changed(weights: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("exits.0.bias"), "lacks exits.0.bias, which build's module has"),
        (lambda t: [t.pop(name) for name in list(t)[:8]], "lacks exits.0.bias, exits.0.weight, exits.1.bias, exits.1.weight and "),
        (lambda t: t.update(head=torch.zeros(2)), "has head, which build's module has not"),
        (lambda t: t.update({"exits.0.bias": torch.zeros(9)}), "exits.0.bias is [9], build's module wants [10]"),
        (lambda t: t["exits.0.bias"].fill_(torch.nan), "exits.0.bias has 10 values that are no finite numbers"),
        (lambda t: t["exits.0.bias"].fill_(1e30), "w.safetensors: a weight of 1.0"),
        (lambda t: [x.zero_() for x in t.values()], "build: its module has no matrix whose weights differ"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(
    user: Source, tmp_path: Path, change: Callable[..., object], said: str
) -> None:
    changed(user.weights, change)
    assert said in refused(user, tmp_path)


def test_a_pickle_is_not_read(user: Source, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    for name, write in (
        ("new.pt", lambda file: torch.save({"w": torch.zeros(1)}, file)),
        ("old.pkl", lambda file: file.write_bytes(pickle.dumps(Bomb()))),
    ):
        write(tmp_path / name)
        said = refused(user._replace(weights=tmp_path / name), tmp_path)
        assert "a pickle, which can run code when it is read; write safetensors.torch.save_file" in said
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "not a safetensors file"), (b"\0" * 100, "not a safetensors file"), (None, "no such file")],
)
def test_what_is_no_safetensors_file_is_refused(user: Source, tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "other"
    if content is not None:
        file.write_bytes(content)
    assert said in refused(user._replace(weights=file), tmp_path)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("def built(): pass", "no function build; it has built"),
        ("def build(): return 3", "has to give a torch.nn.Module; it gives a int"),
        ("def build(): return 1 / 0", "my_model.py:1: ZeroDivisionError"),
        ("def build(:", "my_model.py:1: SyntaxError"),
        ("import beside\ndef build(): return beside.net()", "my_model.py:1: ModuleNotFoundError: No module named 'beside'"),
        (f"{NN}return nn.Linear(9, 9)", "does not run on inputs [64, 1, 8, 8]: RuntimeError: mat1 and mat2"),
        (f"{NN}return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))", "at least 10 classes; it gives [64, 9]"),
        (f"{NN}return Two()\n{TWO}", "gives 2 outputs, where one is wanted (depth: none: it has no `stages`"),
    ],
)  # fmt: skip
def test_a_program_that_does_not_build_what_runs_is_refused(
    user: Source, tmp_path: Path, program: str, said: str
) -> None:
    file = tmp_path / "my_model.py"
    file.write_text(program)
    (tmp_path / "beside.py").write_text("")  # a device would not have it
    if "nn." in program:
        save_file(result_of(program.encode(), file, "build").state_dict(), user.weights)
    assert said in refused(user._replace(build=f"{file}:build"), tmp_path)


@pytest.mark.parametrize("reference", ["my_model.py", "my_model.py:", "my_model.py:a b", ":build", "nowhere.py:build"])
def test_what_names_no_function_is_refused(user: Source, tmp_path: Path, reference: str) -> None:
    for field in ("build", "held_out"):
        assert refused(user._replace(**{field: f"{tmp_path}/{reference}"}), tmp_path).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("3", "it gives a int"),
        ("(X, Y, Y)", "it gives a tuple of 3"),
        ("(X, [1, 2])", "its labels are a list"),
        ("(X.double(), Y)", "its inputs are of float64"),
        ("(X, Y.float())", "its labels are of float32"),
        ("(X, Y[:5])", "its inputs are [64, 1, 8, 8] and its labels [5]"),
        ("(X[:1], Y[:1])", "its inputs are [1, 1, 8, 8] and its labels [1]"),
        ("(X / 0, Y)", "values of its inputs are no finite numbers"),
        ("(X, Y - 1)", "its labels begin at -1; they count from 0"),
        ("(X, Y + 5)", "at least 15 classes; it gives [64, 10]"),
        ("open('/nowhere')", "my_data.py:3: FileNotFoundError"),
    ],
)  # fmt: skip
def test_a_held_out_set_of_another_form_is_refused(user: Source, tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "my_data.py").write_text(
        f"import torch; X = torch.zeros(64, 1, 8, 8); Y = torch.arange(64) % 10\ndef held_out():\n  return {body}\n"
    )
    assert said in refused(user, tmp_path)


def test_numpy_arrays_and_files_beside_are_fine_for_data(user: Source, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import numpy as np\nX = np.ones((6, 1, 8, 8), np.float32)\n")
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\nimport mine\ndef held_out():\n  return mine.X, np.arange(6)\n"
    )
    inputs, labels = own_model.read_held_out(user.held_out)
    assert np.array_equal(inputs.numpy(), np.ones((6, 1, 8, 8))) and labels.tolist() == list(range(6))


def test_every_weight_a_module_shares_is_sent_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(64, 64)
            self.second = nn.Linear(64, 64)
            self.second.weight = self.first.weight
            self.out = nn.Linear(64, 40)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.second(self.first(x.flatten(1))))  # type: ignore[no-any-return]

    torch.manual_seed(1)
    module, inputs = Tied(), torch.rand(5, 1, 8, 8)
    expected = module(inputs)
    adapted = adapt.adapt(module, inputs)
    assert "first.weight" in adapted.tensors and "second.weight" not in adapted.tensors
    assert "out.left" in adapted.tensors  # what is shared is not cut
    blocks = codec.encode(adapted.pieces, adapted.step, adapt.LEVELS, adapted.tensors)
    assert blocks
    torch.manual_seed(2)
    made = adapt.runnable(Tied(), {"input": [1, 8, 8], "depths": 0}, 1, adapted.tensors)
    assert made(inputs).shape == expected.shape
    assert (made(inputs) - expected).abs().mean() < 0.5 * expected.abs().mean()


def test_what_the_first_exit_shares_with_a_later_stage_comes_with_it() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Linear(8, 8) for _ in range(3)]
            self.stages = nn.ModuleList([layers[0], layers[1]])
            self.exits = nn.ModuleList([layers[1], layers[2]])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.exits[1](self.stages[1](self.stages[0](x)))  # type: ignore[no-any-return]

    torch.manual_seed(1)
    module, inputs = Shared(), torch.rand(5, 8)
    expected = adapt.shallow(module, 1)(inputs)
    adapted = adapt.adapt(module, inputs)
    assert adapted.depths == 2
    of_first = {piece.tensor for piece in adapted.pieces if piece.stage == 1}
    torch.manual_seed(2)
    tensors = {name: array for name, array in adapted.tensors.items() if name in of_first}
    made = adapt.runnable(Shared(), {"input": [8], "depths": 2}, 1, tensors)
    torch.testing.assert_close(made(inputs), expected)
    assert {"stages.1.bias"} <= of_first
