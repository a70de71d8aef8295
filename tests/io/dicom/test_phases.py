import pytest

from sammed.io.dicom.phases import phase_of


@pytest.mark.parametrize(
    ("description", "phase"),
    [
        ("Abdomen nativ 5.0", "native"),
        ("LATE ARTERIAL", "arterial"),
        ("Leber spät", "delayed"),
        ("portal_venous_thin", "venous"),
        ("art + ven", ""),
        ("heart", ""),
        ("", ""),
    ],
)
def test_whole_words_of_a_description_name_its_phase(description, phase):
    assert phase_of(description) == phase
