from dataclasses import replace

from roles.mint.info import MintInfo
from roles.mint.request import Sizes
from shared_config.mint import InfoSettings
from tests.roles.mint.house import NOW, House

SETTINGS = InfoSettings.model_validate(
    {
        "name": "mint",
        "description": "short",
        "description_long": "long",
        "contact_email": "a@example.org",
        "contact": [{"method": "nostr", "info": "npub1"}],
        "motd": "news",
        "icon_url": "https://example.org/icon.png",
        "tos_url": "https://example.org/terms",
        "urls": ["http://example.onion"],
    }
)


def _info(settings: InfoSettings, house: House) -> MintInfo:
    return MintInfo(settings, "https://mint.example", bytes(33), bytes(33), Sizes(), house.clock)


async def test_all_that_the_operator_says_stands_in_the_information(house: House) -> None:
    told = _info(SETTINGS, house).to_json(house.book)
    assert {
        name: told[name]
        for name in told
        if name not in {"nuts", "version", "pubkey", "quote_key", "max_array_length"}
    } == {
        "name": "mint",
        "description": "short",
        "description_long": "long",
        "contact": [{"method": "email", "info": "a@example.org"}, {"method": "nostr", "info": "npub1"}],
        "motd": "news",
        "icon_url": "https://example.org/icon.png",
        "tos_url": "https://example.org/terms",
        "urls": ["https://mint.example", "http://example.onion"],
        "time": NOW,
    }


async def test_what_the_operator_does_not_say_is_left_out(house: House) -> None:
    told = _info(InfoSettings(), house).to_json(house.book)
    assert not {"description_long", "motd", "icon_url", "tos_url"} & set(told)
    assert told["contact"] == []


async def test_a_unit_that_signs_no_more_is_not_offered(house: House) -> None:
    info = _info(InfoSettings(), house)
    nuts = info.to_json(house.book)["nuts"]
    assert isinstance(nuts, dict)
    assert house.unit in [each["unit"] for each in nuts["4"]["methods"]]
    house.book.add(replace(house.book.get(house.keyset_id), active=False))
    nuts = info.to_json(house.book)["nuts"]
    assert isinstance(nuts, dict)
    for number, field in (("4", "methods"), ("17", "supported")):
        assert house.unit not in [each["unit"] for each in nuts[number][field]]


async def test_a_mint_without_a_websocket_offers_nothing_to_listen_to(house: House) -> None:
    info = replace(_info(InfoSettings(), house), has_socket=False)
    nuts = info.to_json(list(house.book))["nuts"]
    assert isinstance(nuts, dict)
    assert nuts["17"] == {"supported": []}
