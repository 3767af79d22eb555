// What a wallet pays by Lightning: NUTs 05, 08, 19 and 23; invoices of others are paid by the mint's fake node.

import { randomBytes } from 'node:crypto';
import { CheckStateEnum, MeltQuoteState, OutputData, getPubKeyFromPrivKey } from '@cashu/cashu-ts';
import { check, refused, same, sum } from './stage.mjs';

const hex = (bytes) => Buffer.from(bytes).toString('hex');

async function states(wallet, proofs, wanted) {
  for (const state of await wallet.checkProofsStates(proofs)) {
    same(state.state, wanted, 'state');
    same(state.witness ?? null, null, 'witness');
  }
}

async function settled(wallet, quote) {
  for (;;) {
    const now = await wallet.checkMeltQuoteBolt11(quote.quote);
    if (now.state !== MeltQuoteState.PENDING) return now;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Tokens that pay a quote and its reserve exactly, and what is left. */
async function ready(stage, wallet, invoice, funds = 3000) {
  const proofs = await stage.fund(wallet, funds);
  const quote = await wallet.createMeltQuoteBolt11(invoice);
  const due = Number(quote.amount) + Number(quote.fee_reserve);
  return { quote, ...(await wallet.send(due, proofs, { includeFees: true })) };
}

export async function an_invoice_of_another_mint_costs_a_fee_and_the_rest_comes_back(stage) {
  const wallet = await stage.wallet();
  const { quote, keep, send } = await ready(stage, wallet, stage.invoice('plain'));
  check(Number(quote.fee_reserve) > 0, 'nothing is set aside');
  same([Number(quote.amount), quote.unit, quote.state], [2000, 'sat', MeltQuoteState.UNPAID]);
  same((await wallet.checkMeltQuoteBolt11(quote.quote)).quote, quote.quote);
  const { quote: paid, change } = await wallet.meltProofsBolt11(quote, send);
  same(paid.state, MeltQuoteState.PAID);
  check(paid.payment_preimage?.length === 64, 'no preimage');
  check(sum(change) > 0 && sum(change) < Number(quote.fee_reserve), `change ${sum(change)}`);
  await states(wallet, send, CheckStateEnum.SPENT);
  await states(wallet, [...keep, ...change], CheckStateEnum.UNSPENT);
  same((await wallet.checkMeltQuoteBolt11(quote.quote)).state, MeltQuoteState.PAID);
}

export async function an_invoice_of_this_mint_costs_no_fee(stage) {
  const [wallet, payee] = [await stage.wallet(), await stage.wallet()];
  const proofs = await stage.fund(wallet, 300);
  const { send } = await wallet.send(100, proofs, { includeFees: true });
  const asked = await payee.createMintQuoteBolt11(100, 'fake: unpaid');
  const quote = await wallet.createMeltQuoteBolt11(asked.request);
  same(Number(quote.fee_reserve), 0);
  same((await wallet.meltProofsBolt11(quote, send)).quote.state, MeltQuoteState.PAID);
  same(sum(await payee.mintProofsBolt11(100, asked.quote)), 100);
}

export async function locked_tokens_pay_with_their_signature(stage) {
  const wallet = await stage.wallet();
  const secret = randomBytes(32);
  const pubkey = hex(getPubKeyFromPrivKey(secret));
  const factory = (amount, keys) => OutputData.createSingleP2PKData({ pubkey }, amount, keys.id);
  const proofs = await stage.fund(wallet, 3000, { type: 'factory', factory });
  const quote = await wallet.createMeltQuoteBolt11(stage.invoice('plain'));
  same((await refused(wallet.meltProofsBolt11(quote, proofs))).code, 20008, 'code');
  const signed = wallet.signP2PKProofs(proofs, hex(secret));
  const { quote: paid, change } = await wallet.meltProofsBolt11(quote, signed, {}, { type: 'factory', factory });
  same(paid.state, MeltQuoteState.PAID);
  for (const proof of change) same(JSON.parse(proof.secret)[1].data, pubkey, 'the lock of the change');
}

export async function a_payment_that_takes_long_is_asked_about(stage) {
  const wallet = await stage.wallet();
  const { quote, send } = await ready(stage, wallet, stage.invoice('pending'));
  const preview = await wallet.prepareMelt('bolt11', quote, send);
  const begun = await wallet.completeMelt(preview, undefined, { preferAsync: true });
  same(begun.quote.state, MeltQuoteState.PENDING);
  await states(wallet, send, CheckStateEnum.PENDING);
  same((await refused(wallet.receive(send))).code, 11002, 'code');
  const ended = await settled(wallet, quote);
  same(ended.state, MeltQuoteState.PAID);
  const change = wallet.createMeltChangeProofs(preview.outputData, ended.change ?? []);
  check(sum(change) > 0, 'no change');
  await states(wallet, change, CheckStateEnum.UNSPENT);
  await states(wallet, send, CheckStateEnum.SPENT);
}

export async function the_end_of_a_payment_is_told_by_the_socket(stage) {
  const wallet = await stage.wallet();
  const { quote, send } = await ready(stage, wallet, stage.invoice('pending'));
  const told = wallet.on.onceMeltPaid(quote.quote, { timeoutMs: 20_000 });
  const preview = await wallet.prepareMelt('bolt11', quote, send);
  await wallet.completeMelt(preview, undefined, { preferAsync: true });
  same((await told).state, MeltQuoteState.PAID);
}

export async function a_payment_that_fails_leaves_the_tokens(stage) {
  const wallet = await stage.wallet();
  const { quote, send } = await ready(stage, wallet, stage.invoice('failed'));
  const outcome = await wallet.meltProofsBolt11(quote, send).catch((error) => error);
  check(outcome instanceof Error ? outcome.code === 20004 : outcome.quote.state === MeltQuoteState.UNPAID, 'outcome');
  await states(wallet, send, CheckStateEnum.UNSPENT);
  check(sum(await wallet.receive(send)) > 0, 'the tokens are gone');
}

export async function a_payment_whose_answer_was_lost_is_answered_again(stage) {
  const wallet = await stage.wallet();
  const { quote, send } = await ready(stage, wallet, stage.invoice('plain'));
  const preview = await wallet.prepareMelt('bolt11', quote, send);
  const first = await wallet.completeMelt(preview);
  const again = await wallet.completeMelt(preview);
  same(again.quote.payment_preimage, first.quote.payment_preimage);
  same(again.change.map((proof) => proof.C), first.change.map((proof) => proof.C));
}

export async function an_invoice_is_paid_once(stage) {
  const wallet = await stage.wallet();
  const invoice = stage.invoice('plain');
  const { quote, keep, send } = await ready(stage, wallet, invoice, 6000);
  await wallet.meltProofsBolt11(quote, send);
  check((await refused(wallet.meltProofsBolt11(quote, keep))).code === 20006, 'the same quote');
  check([20005, 20006].includes((await refused(
    wallet.createMeltQuoteBolt11(invoice).then((second) => wallet.meltProofsBolt11(second, keep)),
  )).code), 'the same invoice');
  await states(wallet, keep, CheckStateEnum.UNSPENT);
}

export async function of_many_who_pay_with_the_same_tokens_one_has_paid(stage) {
  const wallet = await stage.wallet();
  const { quote, send } = await ready(stage, wallet, stage.invoice('plain'));
  const others = await Promise.all(
    Array.from({ length: 4 }, () => wallet.createMeltQuoteBolt11(stage.invoice('plain'))),
  );
  const outcomes = await Promise.allSettled(
    [quote, ...others].map((each) => wallet.meltProofsBolt11(each, send)),
  );
  const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
  same(lost.length, 4, 'losers');
  for (const { reason } of lost) check([11001, 11002].includes(reason.code), `code ${reason.code}`);
}

export async function too_little_pays_nothing(stage) {
  const wallet = await stage.wallet();
  const proofs = await stage.fund(wallet, 64);
  const quote = await wallet.createMeltQuoteBolt11(stage.invoice('plain'));
  const { keysetId } = wallet;
  const payload = { quote: quote.quote, inputs: proofs, outputs: [] };
  same((await refused(wallet.mint.meltBolt11(payload))).code, 11005, 'code');
  check(keysetId, 'no keyset');
  await states(wallet, proofs, CheckStateEnum.UNSPENT);
}
