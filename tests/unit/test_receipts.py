"""Receipt ids: the same session gives the same id; what people type for it is understood."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.receipts import clean_receipt, receipt_id


def test_a_receipt_is_short_and_always_the_same() -> None:
    session = UUID("1b4e28ba-2fa1-41d2-883f-0016d3cca427")
    assert receipt_id(session) == receipt_id(session) == clean_receipt(receipt_id(session))
    assert len({receipt_id(uuid4()) for _ in range(500)}) == 500


@pytest.mark.parametrize(
    "typed",
    [
        "R-7K40-21HD",
        "r-7k40-21hd",
        "R7K4021HD",
        " r 7k40 21hd ",
        "7K40-21HD",
        "R-7K4O-2LHD",
        "R-7K4o-2iHD",
        "R–7K40–21HD",
        "R_7K40.21HD",
    ],
)
def test_what_people_type_is_understood(typed: str) -> None:
    assert clean_receipt(typed) == "R-7K40-21HD"


@pytest.mark.parametrize(
    "typed",
    ["", "R-", "R-7K40-21H", "R-7K40-21HDX", "R-7U40-21HD", "X-7K40-21HD", "9991230009", "7" * 4000, "é" * 8],
)
def test_what_is_no_receipt_is_none(typed: str) -> None:
    assert clean_receipt(typed) is None


def test_a_code_that_begins_with_r_is_not_cut() -> None:
    assert clean_receipt("RABC-DEFG") is None, "one digit may have been left out"
    assert clean_receipt("R-RABC-DEFG") == "R-RABC-DEFG"


@given(st.uuids())
def test_every_receipt_can_be_read_back(session: UUID) -> None:
    code = receipt_id(session)
    assert clean_receipt(code) == code
    assert clean_receipt(code.lower().replace("-", " ").replace("0", "o").replace("1", "l")) == code


@given(st.text(max_size=80))
def test_any_text_is_a_receipt_or_none(text: str) -> None:
    found = clean_receipt(text)
    assert found is None or clean_receipt(found) == found
