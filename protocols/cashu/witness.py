"""The witness of a proof: a JSON string with signatures and, for HTLC, a preimage (NUT-11, NUT-14)."""

import json
from dataclasses import dataclass, field

from protocols.cashu.condition import KEY_SLOTS
from protocols.cashu.errors import MalformedError, SignatureError
from protocols.cashu.fields import as_array, as_bytes, as_object

SIGNATURE_SIZE = 64


@dataclass(frozen=True, slots=True)
class Witness:
    """What the spender shows; signatures are 64 bytes, the preimage 32."""

    signatures: tuple[bytes, ...] = ()
    preimage: bytes | None = field(default=None, repr=False)

    def to_text(self) -> str:
        """The JSON string of the wire."""
        body: dict[str, object] = {}
        if self.preimage is not None:
            body["preimage"] = self.preimage.hex()
        body["signatures"] = [signature.hex() for signature in self.signatures]
        return json.dumps(body, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | None) -> "Witness":
        """Read a witness, an absent one as empty; raises SignatureError."""
        if text is None:
            return cls()
        try:
            body = as_object(json.loads(text), "witness")
            signatures = body.get("signatures")
            items = () if signatures is None else as_array(signatures, "signatures")
            if len(items) > KEY_SLOTS:
                raise MalformedError(f"more than {KEY_SLOTS} signatures")
            preimage = body.get("preimage")
            return cls(
                tuple(as_bytes(item, "signature", SIGNATURE_SIZE) for item in items),
                None if preimage is None else as_bytes(preimage, "preimage", 32),
            )
        except MalformedError as error:
            raise SignatureError(f"the witness is malformed: {error.detail}") from None
        except (ValueError, RecursionError):
            raise SignatureError("the witness is not JSON") from None
