// Plays scenes against a mint, all at once, and prints what became of each: one JSON object a line.
//
// node play.mjs '{"url", "unit", "scenes", "method", "privkey", "quotes": [{"quote", "amount"}]}'

import { Wallet } from '@cashu/cashu-ts';

const PATIENCE_MS = 130_000;

/** What a scene is given: wallets of one mint and unit, and money. */
export class Stage {
  #told;
  #quotes;

  constructor(told) {
    this.#told = told;
    this.#quotes = [...(told.quotes ?? [])];
    this.url = told.url;
    this.unit = told.unit;
    this.method = told.method;
    this.privkey = told.privkey;
  }

  /** A wallet that knows the mint's keys. */
  async wallet(options = {}) {
    const wallet = new Wallet(this.url, { unit: this.unit, ...options });
    await wallet.loadMint();
    return wallet;
  }

  /** A quote that can be minted: one that the pool has made, or an invoice that pays itself. */
  async quote(wallet, amount) {
    if (this.method !== 'bolt11') {
      const place = this.#quotes.findIndex((quote) => quote.amount === amount);
      check(place >= 0, `no quote of ${amount} is left`);
      const [{ quote }] = this.#quotes.splice(place, 1);
      return wallet.checkMintQuote(this.method, quote);
    }
    const quote = await wallet.createMintQuoteBolt11(amount);
    return paid(wallet, quote);
  }

  /** An invoice of somebody else's, of 2,000 sats, of a kind; none is given twice. */
  invoice(kind) {
    check(this.#told.invoices[kind].length > 0, `no ${kind} invoice is left`);
    return this.#told.invoices[kind].pop();
  }

  /** Tokens of an amount, minted by a wallet. */
  async fund(wallet, amount, outputType) {
    const quote = await this.quote(wallet, amount);
    const config = quote.pubkey ? { privkey: this.privkey } : {};
    return wallet.mintProofs(this.method, amount, quote, config, outputType);
  }
}

/** A bolt11 quote as it is when its invoice has been paid. */
export async function paid(wallet, quote) {
  for (;;) {
    const now = await wallet.checkMintQuoteBolt11(quote.quote);
    if (now.state === 'PAID') return now;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function check(condition, text) {
  if (!condition) throw new Error(text);
}

export function same(found, wanted, text = 'value') {
  const [left, right] = [found, wanted].map((value) => JSON.stringify(value) ?? String(value));
  check(left === right, `${text}: ${left} instead of ${right}`);
}

/** The error with which a promise ends. */
export async function refused(promise) {
  let given;
  try {
    given = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`this should have been refused: ${JSON.stringify(given)?.slice(0, 200)}`);
}

export function sum(proofs) {
  return proofs.reduce((total, proof) => total + Number(proof.amount), 0);
}

export function amounts(proofs) {
  return proofs.map((proof) => Number(proof.amount));
}

/** A token as older wallets write it (V3). */
export function tokenV3(mint, unit, proofs) {
  const plain = proofs.map(({ amount, id, secret, C }) => ({ amount: Number(amount), id, secret, C }));
  const text = JSON.stringify({ token: [{ mint, proofs: plain }], unit, memo: 'V3' });
  return `cashuA${Buffer.from(text).toString('base64url')}`;
}

async function play(name, scene, told) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    await Promise.race([scene(told), late]);
    return { name, ok: true };
  } catch (error) {
    return { name, ok: false, code: error?.code, error: String(error?.stack ?? error) };
  } finally {
    clearTimeout(timer);
  }
}

export async function perform(scenes) {
  const told = JSON.parse(process.argv[2]);
  const stage = new Stage(told);
  const names = told.scenes ?? Object.keys(scenes);
  await Promise.all(
    names.map(async (name) => console.log(JSON.stringify(await play(name, scenes[name], stage)))),
  );
  process.exit(0);
}
