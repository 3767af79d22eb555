/* What is the same for every engine: buffering, padding, the second hash. */

#include "sha256.h"

const uint32_t sha256_initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

const sha256_engine *sha256_best(void)
{
#if defined(__x86_64__)
    if (sha256_extensions_present()) {
        return &sha256_extensions;
    }
#endif
    return &sha256_portable;
}

static void store_digest(const uint32_t state[8], uint8_t digest[SHA256_SIZE])
{
    for (int i = 0; i < 8; i++) {
        store32_big(digest + 4 * i, state[i]);
    }
}

void sha256_begin(sha256 *hash, const sha256_engine *engine)
{
    hash->engine = engine;
    hash->size = 0;
    memcpy(hash->state, sha256_initial, sizeof hash->state);
}

void sha256_take(sha256 *hash, const uint8_t *data, size_t size)
{
    size_t held = hash->size % SHA256_BLOCK;
    if (size == 0) {
        return;
    }
    hash->size += size;
    if (held) {
        size_t room = SHA256_BLOCK - held;
        if (size < room) {
            memcpy(hash->rest + held, data, size);
            return;
        }
        memcpy(hash->rest + held, data, room);
        hash->engine->compress(hash->state, hash->rest, 1);
        data += room;
        size -= room;
    }
    size_t whole = size / SHA256_BLOCK;
    if (whole) {
        hash->engine->compress(hash->state, data, whole);
    }
    if (size % SHA256_BLOCK) {
        memcpy(hash->rest, data + whole * SHA256_BLOCK, size % SHA256_BLOCK);
    }
}

void sha256_end(sha256 *hash, uint8_t digest[SHA256_SIZE])
{
    size_t held = hash->size % SHA256_BLOCK;
    hash->rest[held++] = 0x80;
    if (held > SHA256_BLOCK - 8) {
        memset(hash->rest + held, 0, SHA256_BLOCK - held);
        hash->engine->compress(hash->state, hash->rest, 1);
        held = 0;
    }
    memset(hash->rest + held, 0, SHA256_BLOCK - 8 - held);
    store64(hash->rest + SHA256_BLOCK - 8, __builtin_bswap64(hash->size * 8));
    hash->engine->compress(hash->state, hash->rest, 1);
    store_digest(hash->state, digest);
}

void sha256_end_double(sha256 *hash, uint8_t digest[SHA256_SIZE])
{
    sha256_end(hash, digest);
    sha256_begin(hash, hash->engine);
    sha256_take(hash, digest, SHA256_SIZE);
    sha256_end(hash, digest);
}
