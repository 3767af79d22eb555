/* SHA-256 in plain C, section 6.2.2 of FIPS 180-4. */

#include "sha256.h"

const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static ALWAYS_INLINE uint32_t rotate(uint32_t word, int by)
{
    return word >> by | word << (32 - by);
}

static void expand(uint32_t word[64], const uint8_t block[SHA256_BLOCK])
{
    for (int i = 0; i < 16; i++) {
        word[i] = load32_big(block + 4 * i);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = word[i - 15], b = word[i - 2];
        uint32_t small0 = rotate(a, 7) ^ rotate(a, 18) ^ a >> 3;
        uint32_t small1 = rotate(b, 17) ^ rotate(b, 19) ^ b >> 10;
        word[i] = word[i - 16] + small0 + word[i - 7] + small1;
    }
}

static void compress(uint32_t state[8], const uint8_t *blocks, size_t count)
{
    uint32_t word[64];
    for (; count; count--, blocks += SHA256_BLOCK) {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        expand(word, blocks);
        for (int i = 0; i < 64; i++) {
            uint32_t big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
            uint32_t big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
            uint32_t first = h + big1 + ((e & f) ^ (~e & g)) + sha256_constants[i] + word[i];
            uint32_t second = big0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + first;
            d = c, c = b, b = a, a = first + second;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
    /* A mint's keys pass here; what mines does not, where there is nothing faster than this. */
    wipe(word, sizeof word);
}

static void climb(uint8_t node[SHA256_SIZE], const uint8_t *siblings, size_t count)
{
    for (; count; count--, siblings += SHA256_SIZE) {
        sha256 hash;
        sha256_begin(&hash, &sha256_portable);
        sha256_take(&hash, node, SHA256_SIZE);
        sha256_take(&hash, siblings, SHA256_SIZE);
        sha256_end_double(&hash, node);
    }
}

const sha256_engine sha256_portable = {"portable", false, compress, climb};
