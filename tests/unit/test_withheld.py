"""User data is never stored or shown; a hash tells whether it has changed."""

from __future__ import annotations

import pytest

from hfcore.models import Template
from hfcore.withheld import concealed, with_user_data, withheld, without_user_data

PLAIN = Template(template_id="t")
SECRET = Template(template_id="t", user_data="token=secret")
NATIVE = Template(template_id="t", launch_template_data={"UserData": "c2VjcmV0", "InstanceType": "m5.large"})


def test_a_template_without_user_data_is_stored_as_it_is() -> None:
    assert without_user_data(PLAIN) is PLAIN
    assert withheld(PLAIN) == ""


def test_a_hash_stands_for_user_data_wherever_it_is_and_tells_one_from_another() -> None:
    for template in (SECRET, NATIVE):
        kept = without_user_data(template)
        assert "secret" not in repr(kept)
        assert "c2VjcmV0" not in repr(kept)
        assert withheld(kept) == kept.withheld == withheld(template)
    assert without_user_data(NATIVE).launch_template_data == {"InstanceType": "m5.large"}
    assert len({withheld(SECRET), withheld(NATIVE), withheld(Template(template_id="t", user_data="token=other"))}) == 3


def test_leaving_it_out_twice_changes_nothing_more() -> None:
    once = without_user_data(SECRET)
    assert without_user_data(once) == once


def test_whatever_is_named_user_data_is_blotted_out_in_any_spelling_and_depth() -> None:
    shown = concealed(
        {
            "userData": "secret",
            "USER_DATA": "secret",
            "userDataScript": "boot.sh",
            "user_data": "",
            "launchTemplateData": {"UserData": "secret", "Monitoring": {"Enabled": True}},
            "apiParameters": [{"UserData": "secret"}, "plain"],
        }
    )
    assert "secret" not in repr(shown)
    assert (shown["userData"], shown["user_data"], shown["userDataScript"]) == ("***", "", "boot.sh")
    assert shown["launchTemplateData"]["Monitoring"] == {"Enabled": True}
    assert shown["apiParameters"][1] == "plain"


@pytest.mark.parametrize("whole", [SECRET, NATIVE], ids=["userData", "launchTemplateData"])
def test_a_stored_template_gets_its_user_data_again_from_the_same_source_alone(whole: Template) -> None:
    stored = without_user_data(whole)
    assert with_user_data(stored, whole) == whole
    for other in (None, stored, PLAIN, Template(template_id="t", user_data="token=another")):
        assert with_user_data(stored, other) is stored


@pytest.mark.parametrize("whole", [SECRET, NATIVE], ids=["userData", "launchTemplateData"])
def test_a_template_in_words_for_a_log_holds_no_user_data(whole: Template) -> None:
    assert not {word for word in ("token=secret", "c2VjcmV0") if word in repr(whole)}
