/* Sealing and opening of single messages. */

#include "aead.h"

void aead_begin(aead_window *window, const chacha20_engine *engine, const chacha20_key *key)
{
    window->engine = engine;
    window->key = key;
    window->is_filled = false;
}

void aead_end(aead_window *window)
{
    wipe(window->block, sizeof window->block);
    window->is_filled = false;
}

static chacha20_place place(uint64_t nonce, uint32_t counter)
{
    return (chacha20_place){{counter, 0, (uint32_t)nonce, (uint32_t)(nonce >> 32)}};
}

/* Blocks 0 and 1 of a nonce. */
static const uint8_t (*first_blocks(aead_window *window, uint64_t nonce))[CHACHA20_BLOCK]
{
    if (window->is_filled && nonce == window->nonce) {
        return (const uint8_t(*)[CHACHA20_BLOCK])window->block;
    }
    if (window->is_filled && nonce == window->nonce + 1) {
        return (const uint8_t(*)[CHACHA20_BLOCK])window->block + 2;
    }
    const chacha20_place places[CHACHA20_QUAD] = {
        place(nonce, 0),
        place(nonce, 1),
        place(nonce + 1, 0),
        place(nonce + 1, 1),
    };
    window->engine->blocks(window->block, window->key, places);
    window->nonce = nonce;
    window->is_filled = true;
    return (const uint8_t(*)[CHACHA20_BLOCK])window->block;
}

static void mix(const uint8_t *in, const uint8_t *keystream, size_t size, uint8_t *out)
{
    size_t at = 0;
    for (; size - at >= 8; at += 8) {
        store64(out + at, load64(in + at) ^ load64(keystream + at));
    }
    for (; at < size; at++) {
        out[at] = in[at] ^ keystream[at];
    }
}

/* What does not fit the first block. */
static void mix_rest(const aead_window *window, uint64_t nonce, const uint8_t *in, size_t size, uint8_t *out)
{
    _Alignas(32) uint8_t keystream[CHACHA20_QUAD][CHACHA20_BLOCK];
    for (uint32_t counter = 2; size; counter += CHACHA20_QUAD) {
        const chacha20_place places[CHACHA20_QUAD] = {
            place(nonce, counter),
            place(nonce, counter + 1),
            place(nonce, counter + 2),
            place(nonce, counter + 3),
        };
        size_t piece = size < sizeof keystream ? size : sizeof keystream;
        window->engine->blocks(keystream, window->key, places);
        mix(in, keystream[0], piece, out);
        in += piece, out += piece, size -= piece;
    }
    wipe(keystream, sizeof keystream);
}

static void mix_all(const aead_window *window, uint64_t nonce, const uint8_t *keystream, const uint8_t *in,
                    size_t size, uint8_t *out)
{
    size_t first = size < CHACHA20_BLOCK ? size : CHACHA20_BLOCK;
    mix(in, keystream, first, out);
    if (size > first) {
        mix_rest(window, nonce, in + first, size - first, out + first);
    }
}

static void authenticate(const uint8_t key[POLY1305_KEY], const uint8_t *text, size_t size,
                         uint8_t tag[AEAD_TAG])
{
    poly1305 mac;
    uint8_t sizes[16] = {0};
    store64(sizes + 8, size);
    poly1305_begin(&mac, key);
    poly1305_take_padded(&mac, text, size);
    poly1305_take(&mac, sizes, sizeof sizes);
    poly1305_end(&mac, tag);
}

static bool is_same_tag(const uint8_t a[AEAD_TAG], const uint8_t b[AEAD_TAG])
{
    uint64_t difference = (load64(a) ^ load64(b)) | (load64(a + 8) ^ load64(b + 8));
    /* The compiler must not find out that half of it may be enough. */
    __asm__ __volatile__("" : "+r"(difference));
    return difference == 0;
}

void aead_seal(aead_window *window, uint64_t nonce, const uint8_t *plain, size_t size, uint8_t *sealed)
{
    const uint8_t(*keystream)[CHACHA20_BLOCK] = first_blocks(window, nonce);
    mix_all(window, nonce, keystream[1], plain, size, sealed);
    authenticate(keystream[0], sealed, size, sealed + size);
}

bool aead_open(aead_window *window, uint64_t nonce, const uint8_t *sealed, size_t size, uint8_t *plain)
{
    uint8_t tag[AEAD_TAG];
    const uint8_t(*keystream)[CHACHA20_BLOCK] = first_blocks(window, nonce);
    authenticate(keystream[0], sealed, size, tag);
    if (!is_same_tag(tag, sealed + size)) {
        return false;
    }
    mix_all(window, nonce, keystream[1], sealed, size, plain);
    return true;
}
