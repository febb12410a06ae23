"""Irreps of e3nn, as texts and as records."""

import pytest

from equipot.conversion.errors import ConversionError
from equipot.conversion.irreps import IRREPS, parse_irreps
from equipot.conversion.records import Record

EXPECTED = ((8, 0, 1), (1, 1, -1), (2, 2, 1))


def record(*terms):
    items = [
        Record(
            "e3nn.o3._irreps._MulIr", ((n, Record("e3nn.o3._irreps.Irrep", ((l, p),))),)
        )
        for n, l, p in terms  # noqa: E741 - degree l
    ]
    return Record(IRREPS, (tuple(items),))


def test_texts_and_records_give_the_same():
    assert parse_irreps("8x0e + 1o+2x2e") == EXPECTED
    assert parse_irreps(record(*EXPECTED)) == EXPECTED


@pytest.mark.parametrize(
    "value",
    [
        *("", "8x0", "8x0e+", "x", 3, None, Record("torch.Size", (1,))),
        *(
            record((8, 0, 2)),
            record((-1, 0, 1)),
            record((1, 99, 1)),
            record((True, 0, 1)),
        ),
    ],
    ids=range(11),
)
def test_anything_else_is_refused(value):
    with pytest.raises(ConversionError, match="irreps"):
        parse_irreps(value)
