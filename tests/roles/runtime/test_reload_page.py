from tests.reload_page import told_of


def test_every_setting_on_the_page_is_one_of_its_daemons() -> None:
    for role in ("pool", "proxy", "translator"):
        assert "ban" in told_of(role)
