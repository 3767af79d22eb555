/* Poly1305 (RFC 8439 section 2.5): a one-time authenticator, in constant time. */
#ifndef HASHPOOL_POLY1305_H
#define HASHPOOL_POLY1305_H

#include "words.h"

#define POLY1305_KEY 32
#define POLY1305_TAG 16

typedef struct {
    uint64_t r0, r1; /* the clamped multiplier */
    uint64_t fold;   /* r1 * 5 / 4: what r1 is worth above 2^128 */
    uint64_t h0, h1, h2;
    uint64_t pad0, pad1;
} poly1305;

void poly1305_begin(poly1305 *mac, const uint8_t key[POLY1305_KEY]);
/* Take bytes, of which only the last piece of all may be no multiple of 16. */
void poly1305_take(poly1305 *mac, const uint8_t *data, size_t size);
/* The same, filled up with zeros to a multiple of 16. */
void poly1305_take_padded(poly1305 *mac, const uint8_t *data, size_t size);
void poly1305_end(poly1305 *mac, uint8_t tag[POLY1305_TAG]);

#endif
