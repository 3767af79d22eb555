"""What can be wrong with a Cashu message, each kind with the wire code of the NUTs.

CashuError (code, detail)
├── MalformedError 0                not the shape that the NUTs demand; there is no code for it
├── QuoteUnknownError 0             nor for a quote that the mint does not have
├── ProofNotVerifiedError 10001
├── ProofsSpentError 11001          ├── ProofsPendingError 11002
├── OutputsSignedError 11003        ├── OutputsPendingError 11004
├── NotBalancedError 11005          ├── AmountOutOfLimitsError 11006
├── DuplicateInputsError 11007      ├── DuplicateOutputsError 11008
├── SeveralUnitsError 11009         ├── UnitsDifferError 11010
├── AmountlessInvoiceError 11011    ├── AmountMismatchError 11012
├── UnitUnsupportedError 11013
├── TooManyInputsError 11014        ├── TooManyOutputsError 11015
├── DuplicateQuotesError 11016      ├── BatchTooLargeError 11017
├── KeysetUnknownError 12001        ├── KeysetInactiveError 12002
├── KeysetExpiredError 12003
├── QuoteNotPaidError 20001         ├── QuoteIssuedError 20002
├── MintingDisabledError 20003      ├── PaymentFailedError 20004
├── QuotePendingError 20005         ├── InvoicePaidError 20006
├── QuoteExpiredError 20007
├── SignatureError 20008            missing or false: NUT-11 witness, NUT-20 quote, NUT-XX look-up
├── PubkeyRequiredError 20009
└── RpcError                        on a websocket, with a code of JSON-RPC and the request's id
"""


class CashuError(Exception):
    """A refusal as a mint words it: `code` is the number of the NUTs, `detail` the sentence beside it."""

    code = 0

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedError(CashuError):
    """A value that is not of the shape which the NUTs demand."""


class QuoteUnknownError(CashuError):
    """A quote id that the mint does not have."""


class ProofNotVerifiedError(CashuError):
    """A proof that the mint did not sign."""

    code = 10001


class ProofsSpentError(CashuError):
    """An input that has been spent."""

    code = 11001


class ProofsPendingError(CashuError):
    """An input that another request holds."""

    code = 11002


class OutputsSignedError(CashuError):
    """An output that was signed before, in another request."""

    code = 11003


class OutputsPendingError(CashuError):
    """An output that another request holds."""

    code = 11004


class NotBalancedError(CashuError):
    """Inputs less fees are not the outputs."""

    code = 11005


class AmountOutOfLimitsError(CashuError):
    """An amount that the mint does not handle, or has no key for."""

    code = 11006


class DuplicateInputsError(CashuError):
    """One proof twice in a request."""

    code = 11007


class DuplicateOutputsError(CashuError):
    """One blinded message twice in a request."""

    code = 11008


class SeveralUnitsError(CashuError):
    """Inputs, outputs or quotes of more than one unit in a request."""

    code = 11009


class UnitsDifferError(CashuError):
    """Outputs of another unit than the inputs or the quote."""

    code = 11010


class AmountlessInvoiceError(CashuError):
    """An invoice without an amount, and no word of what is to be paid."""

    code = 11011


class AmountMismatchError(CashuError):
    """An amount that is not the invoice's."""

    code = 11012


class UnitUnsupportedError(CashuError):
    """A unit or method that the mint does not know."""

    code = 11013


class TooManyInputsError(CashuError):
    """More inputs than the mint takes in one request."""

    code = 11014


class TooManyOutputsError(CashuError):
    """More outputs than the mint takes in one request."""

    code = 11015


class DuplicateQuotesError(CashuError):
    """One quote twice in a batch."""

    code = 11016


class BatchTooLargeError(CashuError):
    """More quotes or keys than the mint takes in one request."""

    code = 11017


class KeysetUnknownError(CashuError):
    """A keyset id that the mint does not have."""

    code = 12001


class KeysetInactiveError(CashuError):
    """Outputs for a keyset that signs no more."""

    code = 12002


class KeysetExpiredError(CashuError):
    """Inputs of a keyset whose final expiry has passed."""

    code = 12003


class QuoteNotPaidError(CashuError):
    """A quote with nothing to mint yet."""

    code = 20001


class QuoteIssuedError(CashuError):
    """A quote that has been minted in full."""

    code = 20002


class MintingDisabledError(CashuError):
    """Minting, or making quotes, that this mint does not offer."""

    code = 20003


class PaymentFailedError(CashuError):
    """A payment that did not arrive; the inputs are free again."""

    code = 20004


class QuotePendingError(CashuError):
    """A quote that another request holds."""

    code = 20005


class InvoicePaidError(CashuError):
    """An invoice that has been paid already."""

    code = 20006


class QuoteExpiredError(CashuError):
    """A quote past its expiry."""

    code = 20007


class SignatureError(CashuError):
    """A signature that is missing or does not verify."""

    code = 20008


class PubkeyRequiredError(CashuError):
    """A quote or request without the public key that it needs."""

    code = 20009


class RpcError(CashuError):
    """A message on a websocket that is not carried out; `request_id` is None where it could not be read."""

    def __init__(self, code: int, detail: str, request_id: int | str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.request_id = request_id
