"""Texts too long for one QR code as a row of codes: UR parts of type bytes, as wallets read them (NUT-16,
BCR-2020-005).

Of the scheme's fountain code only the plain parts are made, which every reader takes in any order: they are
shown round and round. Bytes are written as bytewords (BCR-2020-012) in their minimal form, the first and last
letter of a word, with a CRC-32 behind them; in upper case they take the least room in a QR code.
"""

from zlib import crc32

import cbor2

_PAIRS = (
    "aeadaoaxaaahamatayasbkbdbnbtbabsbebybgbwbbbzcmchcscfcycwcecackctcxclcpcndkdadsdidedtdrdndwdpdmdl"
    "dyeheyeoeeecenemetesftfrfnfsfmfhfzfpfwfxfyfefgflfdgagegrgsgtglgwgdgygmgughgohfhghdhkhthphhhlhyhe"
    "hnhsidiaieihiyioisinimjejzjnjtjljojsjpjkjykpkoktkskkknkgkekikblblalylflslrlplnltloldlelulklgmnmy"
    "mhmemomumwmdmtmsmknlnyndnsntnnnenboyoeotoxonolospdptpkpypspmplpepfpaprqdqzrerprlrorhrdrkrfryrnrs"
    "rtsesasrssskswstspsosgsbsfsntotktitttdtetytltbtstptatnuyuoutueurvtvyvovlvevwvavdvswlwdwmwpwewyws"
    "wtwnwzwfwkykynylyaytzszoztzczezm"
)


def parts(data: bytes, part_size: int) -> list[str]:
    """The texts of the codes, in upper case, each with at most `part_size` bytes of the data; one stands
    alone.
    """
    message = cbor2.dumps(data)
    count = -(-len(message) // part_size)
    if count <= 1:
        return [f"ur:bytes/{bytewords(message)}".upper()]
    size = -(-len(message) // count)
    count = -(-len(message) // size)
    told = []
    for number in range(count):
        fragment = message[number * size : (number + 1) * size].ljust(size, bytes(1))
        part = cbor2.dumps([number + 1, count, len(message), crc32(message), fragment])
        told.append(f"ur:bytes/{number + 1}-{count}/{bytewords(part)}".upper())
    return told


def bytewords(data: bytes) -> str:
    """Bytes with their checksum, two lower-case letters each."""
    checked = data + crc32(data).to_bytes(4, "big")
    return "".join(_PAIRS[2 * byte : 2 * byte + 2] for byte in checked)
