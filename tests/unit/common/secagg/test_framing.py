"""Fields come back as they were written, nothing else is read, and lengths are known before anything is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.common.errors import WardroundError
from wardround.common.secagg.framing import Reader, Writer, stored


def test_the_bytes_by_hand() -> None:
    written = Writer().u8(1).u16(2).u32(3).fixed(b"ab", 2).variable(b"c").bytes()
    assert written == b"\x01\x00\x02\x00\x00\x00\x03ab\x00\x00\x00\x01c"


@given(
    byte=st.integers(0, 255),
    short=st.integers(0, 65_535),
    number=st.integers(0, 2**32 - 1),
    text=st.binary(max_size=50),
    cut=st.integers(1, 60),
)
def test_fields_come_back_and_not_one_byte_fewer_will_do(
    byte: int, short: int, number: int, text: bytes, cut: int
) -> None:
    written = Writer().u8(byte).u16(short).u32(number).variable(text).fixed(text, len(text)).bytes()

    def read(data: bytes) -> tuple[int, int, int, bytes, bytes]:
        reader = Reader(data, "test message")
        found = reader.u8(), reader.u16(), reader.u32(), reader.variable(50), reader.fixed(len(text))
        reader.end()
        return found

    assert read(written) == (byte, short, number, text, text)
    with pytest.raises(WardroundError, match=r"WR-1701.*test message is truncated"):
        read(written[: max(0, len(written) - cut)])
    with pytest.raises(WardroundError, match=r"WR-1701.*longer than its fields"):
        read(written + b"\x00")


def test_a_length_is_held_against_the_most_before_anything_is_read() -> None:
    written = Writer().u32(2**32 - 1).bytes()
    with pytest.raises(WardroundError, match=r"4294967295 bytes; 7 is the most"):
        Reader(written, "test message").variable(7)
    assert Reader(Writer().variable(b"1234567").bytes(), "test message").variable(7) == b"1234567"


def test_a_fixed_field_of_another_length_is_a_bug() -> None:
    with pytest.raises(ValueError, match="expected 3 bytes, got 2"):
        Writer().fixed(b"ab", 3)


def test_what_lies_in_the_own_store_is_damaged_rather_than_malformed() -> None:
    with pytest.raises(WardroundError, match="WR-1714"):
        Reader(b"", "stored thing", "WR-1714").u8()

    def decode(data: bytes) -> int:
        return Reader(data, "peer's message").u16()

    assert stored("statement", decode, b"\x01\x02") == 0x102
    with pytest.raises(WardroundError, match=r"WR-1714.*stored statement is damaged"):
        stored("statement", decode, b"\x01")
