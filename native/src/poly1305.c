/* The sum of blocks times powers of r modulo 2^130 - 5, in two words of 64 bits and a few bits more.
 *
 * Clamping leaves r1 a multiple of 4, so that r1 * 2^128 = r1 / 4 * 2^130 = r1 / 4 * 5 exactly.
 */

#include "poly1305.h"

__extension__ typedef unsigned __int128 u128;

void poly1305_begin(poly1305 *mac, const uint8_t key[POLY1305_KEY])
{
    mac->r0 = load64(key) & 0x0ffffffc0fffffff;
    mac->r1 = load64(key + 8) & 0x0ffffffc0ffffffc;
    mac->fold = mac->r1 + (mac->r1 >> 2);
    mac->h0 = mac->h1 = mac->h2 = 0;
    mac->pad0 = load64(key + 16);
    mac->pad1 = load64(key + 24);
}

/* The sum of two words and its carry. */
static ALWAYS_INLINE uint64_t add(uint64_t a, uint64_t b, uint64_t *carry)
{
    uint64_t sum = a + b;
    *carry = sum < a;
    return sum;
}

/* Add one block, whose bit above its last byte is `top` in the third word, and multiply. */
static ALWAYS_INLINE void absorb(poly1305 *mac, uint64_t low, uint64_t high, uint64_t top)
{
    uint64_t carry, second;
    uint64_t h0 = add(mac->h0, low, &carry);
    uint64_t h1 = add(mac->h1, carry, &carry);
    h1 = add(h1, high, &second);
    uint64_t h2 = mac->h2 + top + carry + second;

    u128 d0 = (u128)h0 * mac->r0 + (u128)h1 * mac->fold;
    u128 d1 = (u128)h0 * mac->r1 + (u128)h1 * mac->r0 + h2 * mac->fold;
    d1 += (uint64_t)(d0 >> 64);
    uint64_t d2 = h2 * mac->r0 + (uint64_t)(d1 >> 64);

    /* What stands above 2^130 comes in again five times; a few bits above may stay. */
    mac->h0 = add((uint64_t)d0, (d2 & ~(uint64_t)3) + (d2 >> 2), &carry);
    mac->h1 = add((uint64_t)d1, carry, &carry);
    mac->h2 = (d2 & 3) + carry;
}

void poly1305_take(poly1305 *mac, const uint8_t *data, size_t size)
{
    /* A copy that no pointer to bytes can alias stays in registers. */
    poly1305 sum = *mac;
    for (; size >= 16; size -= 16, data += 16) {
        absorb(&sum, load64(data), load64(data + 8), 1);
    }
    *mac = sum;
    wipe(&sum, sizeof sum);
    if (size) {
        uint8_t last[16] = {0};
        memcpy(last, data, size);
        last[size] = 1;
        absorb(mac, load64(last), load64(last + 8), 0);
    }
}

void poly1305_take_padded(poly1305 *mac, const uint8_t *data, size_t size)
{
    size_t rest = size % 16;
    poly1305_take(mac, data, size - rest);
    if (rest) {
        uint8_t last[16] = {0};
        memcpy(last, data + size - rest, rest);
        absorb(mac, load64(last), load64(last + 8), 1);
    }
}

void poly1305_end(poly1305 *mac, uint8_t tag[POLY1305_TAG])
{
    /* Subtract 2^130 - 5 if that is possible, by a mask and not by a branch. */
    u128 sum = (u128)mac->h0 + 5;
    uint64_t less0 = (uint64_t)sum;
    sum = (u128)mac->h1 + (uint64_t)(sum >> 64);
    uint64_t less1 = (uint64_t)sum;
    uint64_t is_above = (mac->h2 + (uint64_t)(sum >> 64)) >> 2;
    uint64_t mask = (uint64_t)0 - (is_above != 0);
    uint64_t h0 = (mac->h0 & ~mask) | (less0 & mask);
    uint64_t h1 = (mac->h1 & ~mask) | (less1 & mask);

    sum = (u128)h0 + mac->pad0;
    store64(tag, (uint64_t)sum);
    store64(tag + 8, h1 + mac->pad1 + (uint64_t)(sum >> 64));
    wipe(mac, sizeof *mac);
}
