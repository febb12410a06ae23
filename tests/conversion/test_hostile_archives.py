"""Hostile and damaged files of `torch.save` are refused by name, and nothing runs."""

import io
import os
import pickle
import struct
import zipfile

import pytest
import torch

import equipot.conversion.pickle_machine
import equipot.conversion.torch_archive
from equipot.conversion.errors import ConversionError
from equipot.conversion.records import Record, module_tensors
from equipot.conversion.torch_archive import read_torch_archive
from tests.conversion.archives import (
    Build,
    Call,
    Name,
    Persistent,
    Raw,
    encode,
    program,
    storage,
    tensor,
    write_archive,
)

ORDERED = Name("collections", "OrderedDict")
RECONSTRUCT = Name("numpy.core.multiarray", "_reconstruct")
DTYPE = Name("numpy", "dtype")


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def array(shape, kind, content):
    empty = Call(RECONSTRUCT, (Name("numpy", "ndarray"), (0,), b"b"))
    return Build(empty, (1, shape, kind, False, content))


REFUSED = {
    "a system call": (Call(Name("posix", "system"), ("true",)), "posix.system"),
    "eval": (Call(Name("builtins", "eval"), ("1",)), "builtins.eval"),
    "getattr": (Call(Name("builtins", "getattr"), ("a", "b")), "builtins.getattr"),
    "a name of a name": (Name("torch", "os;x"), "os;x"),
    "a package that is a prefix": (Name("torchevil", "x"), "torchevil.x"),
    "a call of a text": (Call("torch.load", ()), "calls what is no class"),
    "a call of a record": (Call(Call(Name("torch", "x"), ()), ()), "calls what is no"),
    "arguments that are no tuple": (Call(Name("torch", "x"), [1]), "calls what is no"),
    "a tensor beyond its storage": (tensor((5,), (1,)), "reaches beyond its storage"),
    "an offset beyond it": (tensor((2,), (1,), offset=3), "reaches beyond"),
    "a stride beyond it": (tensor((2, 2), (3, 1)), "reaches beyond"),
    "a negative stride": (tensor((2,), (-1,), offset=3), "negative"),
    "a negative shape": (tensor((-1,), (1,)), "negative"),
    "a negative offset": (tensor((1,), (1,), offset=-1), "negative"),
    "a shape of truth values": (tensor((True,), (1,)), "negative or no integer"),
    "a shape of floats": (tensor((1.0,), (1,)), "negative or no integer"),
    "a stride of zero": (tensor((2**40,), (0,)), "numbers together"),
    "many dimensions": (tensor((1,) * 17, (1,) * 17), "does not fit its strides"),
    "more strides than indices": (tensor((1,), (1, 1)), "does not fit its strides"),
    "a tensor without a storage": (tensor((1,), (1,), of="x"), "without a storage"),
    "a storage of another size": (tensor((1,), (1,), count=5), "of another size"),
    "a storage that is missing": (
        tensor((1,), (1,), of=storage(4, key="1")),
        "storage 1 of 4 numbers is missing",
    ),
    "a path as a storage": (
        tensor((1,), (1,), of=storage(4, key="../0")),
        "a key that is no number",
    ),
    "a storage of a negative size": (storage(-1), "no valid size"),
    "an unknown type of numbers": (
        storage(4, kind=Name("torch", "QInt8Storage")),
        "torch.QInt8Storage",
    ),
    "a persistent id that is a text": (Persistent("x"), "refers to what is no storage"),
    "another persistent id": (
        Persistent(("module", 1, 2, 3, 4)),
        "refers to what is no storage",
    ),
    "a key that is a list": ({"a": Raw(encode({}) + encode([]) + b"Ns")}, "a key"),
    "a key that is a nested tuple": (Raw(b"}" + encode(((1,),)) + b"Ns"), "a key"),
    "an attribute of a dictionary": (Build(Call(ORDERED, ()), {"x": 1}), "attributes"),
    "a damaged dictionary": (Call(ORDERED, ([1],)), "is damaged"),
    "bytes in an unknown code": (
        Call(Name("_codecs", "encode"), ("x", "rot13")),
        "unknown code",
    ),
    "an array of objects": (
        array((1,), Call(DTYPE, ("O8",)), b"x" * 8),
        "of a type that is not read",
    ),
    "an array in big-endian": (
        array((1,), Build(Call(DTYPE, ("f8",)), (3, ">")), b"x" * 8),
        "of a type that is not read",
    ),
    "an array of another size": (
        array((2,), Call(DTYPE, ("f8",)), b"x" * 8),
        "does not have the size",
    ),
    "a huge integer": (Raw(b"\x8a\x09" + b"\xff" * 8 + b"\x7f"), "64 bits"),
    "an extension": (Raw(b"\x82\x01"), "EXT1"),
    "an old instance": (Raw(b"(iposix\nsystem\n"), "INST"),
    "an old object": (Raw(b"(cposix\nsystem\no"), "posix.system"),
    "a textual persistent id": (Raw(b"Px\n"), "PERSID"),
    "a value that was not kept": (Raw(b"h\x07"), "recalls what was not kept"),
    "an empty stack": (Raw(b"R"), "damaged or truncated"),
    "two values": (Raw(encode(1) + encode(2)), "more than a value"),
    "a mark without an end": (Raw(b"(" + encode(1)), "more than a value"),
    "a mark as a value": (Raw(b"((t"), "more than a value"),
    "a pair without a value": (Raw(b"}(" + encode(1) + b"u"), "key without a value"),
    "items of a text": (Raw(encode("a") + encode(1) + b"a"), "no list"),
    "a state of a text": (Build("a", {}), "what has none"),
    "two states": (Build(Build(Call(Name("torch", "x"), ()), {}), {}), "has none"),
    "a call with keywords": (
        Raw(b"ccollections\nOrderedDict\n)" + encode({"a": 1}) + b"\x92"),
        "called with keywords",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_pickle_is_refused_with_the_reason(what, tmp_path):
    value, reason = REFUSED[what]
    path = write_archive(tmp_path / "hostile.pt", program(value))

    with pytest.raises(ConversionError) as caught:
        read_torch_archive(path)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_payload_is_not_executed(protocol, tmp_path):
    marker = tmp_path / "marker"
    content = pickle.dumps({"state": Payload(marker)}, protocol)

    with pytest.raises(ConversionError, match=r"posix\.mkdir|nt\.mkdir"):
        read_torch_archive(write_archive(tmp_path / "a.pt", content))

    assert not marker.exists()


def test_a_payload_in_a_module_is_not_executed(tmp_path):
    marker = tmp_path / "marker"
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    network.payload = Payload(marker)
    torch.save(network, tmp_path / "a.pt")

    with pytest.raises(ConversionError, match="mkdir"):
        read_torch_archive(tmp_path / "a.pt")

    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.fx.graph_module", "reduce_graph_module"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.jit", "CompilationUnit"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
    ],
)
def test_functions_of_known_packages_that_could_run_code_are_inert(
    module, name, tmp_path
):
    marker = tmp_path / "marker"
    code = f"import os; os.mkdir({str(marker)!r})"
    call = Call(Name(module, name), ({"_code": code}, code))

    found = read_torch_archive(write_archive(tmp_path / "a.pt", program(call))).root

    assert isinstance(found, Record)
    assert found.name == f"{module}.{name}"
    assert not marker.exists()


def test_a_truncated_pickle_is_refused_wherever_it_ends(tmp_path):
    whole = program({"a": tensor((2, 2), (2, 1)), "b": [1, "x", (2.0, None)]})
    assert read_torch_archive(write_archive(tmp_path / "a.pt", whole)).root["b"]

    for end in range(len(whole)):
        path = write_archive(tmp_path / f"{end}.pt", whole[:end])
        with pytest.raises(ConversionError):
            read_torch_archive(path)


def test_a_pickle_with_any_byte_changed_gives_a_value_or_the_error(tmp_path):
    whole = program({"a": tensor((2, 2), (2, 1)), "b": Call(ORDERED, ())})
    for place in range(2, len(whole)):
        for value in (0, 0x28, 0x52, 0x71, 0xFF):
            changed = whole[:place] + bytes([value]) + whole[place + 1 :]
            path = write_archive(tmp_path / "changed.pt", changed)
            try:
                read_torch_archive(path)
            except ConversionError:
                continue


def test_a_file_truncated_anywhere_is_refused(tmp_path):
    torch.save({"a": torch.randn(10)}, tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()

    for end in range(0, len(content), 7):
        (tmp_path / "cut.pt").write_bytes(content[:end])
        with pytest.raises(ConversionError):
            read_torch_archive(tmp_path / "cut.pt")


def test_numbers_that_do_not_match_their_checksum_are_refused(tmp_path):
    path = write_archive(tmp_path / "a.pt", program(tensor((4,), (1,))))
    content = path.read_bytes()
    changed = content.replace(struct.pack("<f", 3.0), struct.pack("<f", 5.0))
    path.write_bytes(changed)

    with pytest.raises(ConversionError, match=r"damaged zip file.*CRC"):
        read_torch_archive(path)


SIMPLE = program(1)


def test_a_compressed_member_is_refused(tmp_path):
    bomb = {"model/data/1": b"\0" * 2**20}
    path = write_archive(tmp_path / "a.pt", SIMPLE, bomb, zipfile.ZIP_DEFLATED)

    with pytest.raises(ConversionError, match="is compressed"):
        read_torch_archive(path)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"other/data/0": b""}, "outside of the folder"),
        ({"model/../../etc/passwd": b""}, "outside of the archive"),
        ({"/etc/passwd": b""}, "outside of the archive"),
        ({"model/a\\b": b""}, "outside of the archive"),
        ({"model/code/a.py": b""}, "TorchScript"),
        ({"model/constants.pkl": b""}, "TorchScript"),
        ({"model/byteorder": b"big"}, "big-endian"),
        ({"model/byteorder": b"x" * 100}, "byte order is no word"),
        ({"model/data.pkl": b""}, "damaged or truncated"),
    ],
)
def test_an_archive_of_another_layout_is_refused(members, reason, tmp_path):
    path = write_archive(tmp_path / "a.pt", SIMPLE, members)

    with pytest.raises(ConversionError, match=reason):
        read_torch_archive(path)


def test_a_member_twice_is_refused(tmp_path):
    path = write_archive(tmp_path / "a.pt", SIMPLE)
    with (
        zipfile.ZipFile(path, "a") as file,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        file.writestr("model/data.pkl", program(2))

    with pytest.raises(ConversionError, match="two members of one name"):
        read_torch_archive(path)


def test_an_encrypted_member_is_refused(tmp_path):
    path = write_archive(tmp_path / "a.pt", SIMPLE)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    path.write_bytes(content)

    with pytest.raises(ConversionError, match="encrypted"):
        read_torch_archive(path)


def test_a_directory_that_claims_a_huge_size_is_refused(tmp_path):
    path = write_archive(tmp_path / "a.pt", SIMPLE)
    content = bytearray(path.read_bytes())
    content[-10:-6] = struct.pack("<I", 2**31)
    path.write_bytes(content)

    with pytest.raises(ConversionError, match="claims"):
        read_torch_archive(path)


def test_members_that_overlap_are_refused(tmp_path):
    path = write_archive(tmp_path / "a.pt", SIMPLE, {"model/data/1": b"x" * 4096})
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
        (entry,) = (e for e in file.infolist() if e.filename == "model/data/1")
    directory = content[start:-22]
    place = directory.index(b"model/data/1") - 46
    record = directory[place : place + 46 + len(entry.filename)]
    copies = b"".join(
        record.replace(b"data/1", f"data/{digit}".encode()) for digit in "23456789"
    )
    end = bytearray(content[-22:])
    end[8:12] = struct.pack("<HH", 13, 13)
    end[12:16] = struct.pack("<I", len(directory) + len(copies))
    path.write_bytes(content[:-22] + copies + bytes(end))

    with pytest.raises(ConversionError, match=r"overlap|damaged"):
        read_torch_archive(path)


def test_too_many_operations_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(equipot.conversion.pickle_machine, "MAX_OPERATIONS", 100)
    path = write_archive(tmp_path / "a.pt", program([1] * 200))

    with pytest.raises(ConversionError, match="more than 100 operations"):
        read_torch_archive(path)


def test_a_large_pickle_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(equipot.conversion.torch_archive, "MAX_PICKLE_BYTES", 100)
    path = write_archive(tmp_path / "a.pt", program(["x"] * 200))

    with pytest.raises(ConversionError, match="larger than 100"):
        read_torch_archive(path)


def test_the_numbers_of_all_views_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(equipot.conversion.torch_archive, "MAX_NUMBERS", 10)
    path = write_archive(tmp_path / "a.pt", program([tensor((4,), (1,))] * 3))

    with pytest.raises(ConversionError, match="more than 10 numbers together"):
        read_torch_archive(path)


def test_a_value_that_grows_exponentially_takes_no_time(tmp_path):
    doubled = encode([1])
    for index in range(200):
        doubled += b"q" + bytes([index]) + b"h" + bytes([index]) + b"\x86"
    path = write_archive(tmp_path / "a.pt", b"\x80\x02" + doubled + b".")

    assert len(read_torch_archive(path).root) == 2


def test_a_value_nested_deeply_is_read(tmp_path):
    path = write_archive(
        tmp_path / "a.pt", b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    )

    assert len(read_torch_archive(path).root) == 1


def test_modules_that_contain_themselves_are_refused(tmp_path):
    module = Build(
        Raw(encode(Call(Name("torch", "Module"), ())) + b"q\x01"),
        {"_modules": {"self": Raw(b"h\x01")}},
    )
    root = read_torch_archive(write_archive(tmp_path / "a.pt", program(module))).root

    with pytest.raises(ConversionError, match="nested more than"):
        module_tensors(root)


def test_a_tensor_of_an_unknown_kind_in_a_module_is_refused(tmp_path):
    sparse = Call(Name("torch._utils", "_rebuild_sparse_tensor"), ())
    module = Build(Call(Name("torch", "Module"), ()), {"_buffers": {"mask": sparse}})
    root = read_torch_archive(write_archive(tmp_path / "a.pt", program(module))).root

    with pytest.raises(ConversionError, match="mask is of a kind of tensor that is no"):
        module_tensors(root)


def test_the_format_before_pytorch_1_6_is_refused(tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)

    with pytest.raises(ConversionError, match=r"format of PyTorch before 1\.6"):
        read_torch_archive(path)


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "file"
    for content, reason in (
        (pickle.dumps(Payload(tmp_path / "marker")), "bare pickle"),
        (b"x" * 257 + b"ustar" + b"\0" * 100, "tar archive"),
        (b"", "not a file of torch.save"),
        (b"PK\x03\x04", "truncated"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConversionError, match=reason):
            read_torch_archive(path)
    assert not (tmp_path / "marker").exists()


def test_a_compiled_module_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
        buffer = io.BytesIO()
        buffer.write(SIMPLE)
        file.writestr("m/data.pkl", buffer.getvalue())
        file.writestr("m/code/__torch__.py", "")

    with pytest.raises(ConversionError, match="a compiled program, not the model"):
        read_torch_archive(tmp_path / "a.pt")
