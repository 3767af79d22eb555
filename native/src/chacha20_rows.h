/* The body of an engine, for vectors of LANES blocks: included with LANES, TARGET and four_blocks defined.
 *
 * A vector holds one row of the state's 4 by 4 words, of LANES blocks side by side. So column rounds are plain
 * arithmetic, diagonal rounds turn the rows first, and the result lies in memory as the keystream does.
 */

#include "chacha20.h"

#define SETS (CHACHA20_QUAD / LANES)

typedef uint32_t row __attribute__((vector_size(16 * LANES)));

#if LANES == 1
#define TURN_ORDER(n) (n) & 3, (1 + (n)) & 3, (2 + (n)) & 3, (3 + (n)) & 3
#else
#define TURN_ORDER(n)                                                                                            \
    (n) & 3, (1 + (n)) & 3, (2 + (n)) & 3, (3 + (n)) & 3, 4 + ((n) & 3), 4 + ((1 + (n)) & 3),                    \
        4 + ((2 + (n)) & 3), 4 + ((3 + (n)) & 3)
#endif

/* Move each block's four words n places to the left. */
#if defined(__clang__)
#define TURN(x, n) __builtin_shufflevector(x, x, TURN_ORDER(n))
#else
#define TURN(x, n) __builtin_shuffle(x, (row){TURN_ORDER(n)})
#endif

#ifndef ROTATE
#define ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
#endif

typedef struct {
    row a, b, c, d;
} state;

TARGET static ALWAYS_INLINE void quarter_rounds(state *s)
{
    s->a += s->b, s->d ^= s->a, s->d = ROTATE(s->d, 16);
    s->c += s->d, s->b ^= s->c, s->b = ROTATE(s->b, 12);
    s->a += s->b, s->d ^= s->a, s->d = ROTATE(s->d, 8);
    s->c += s->d, s->b ^= s->c, s->b = ROTATE(s->b, 7);
}

TARGET static ALWAYS_INLINE void double_round(state *s)
{
    quarter_rounds(s);
    s->b = TURN(s->b, 1), s->c = TURN(s->c, 2), s->d = TURN(s->d, 3);
    quarter_rounds(s);
    s->b = TURN(s->b, 3), s->c = TURN(s->c, 2), s->d = TURN(s->d, 1);
}

/* One row, the same for all LANES blocks or one after another. */
TARGET static ALWAYS_INLINE row spread(const uint32_t words[4])
{
    row out;
    for (int lane = 0; lane < LANES; lane++) {
        memcpy((uint8_t *)&out + 16 * lane, words, 16);
    }
    return out;
}

TARGET static ALWAYS_INLINE void store_row(uint8_t out[][CHACHA20_BLOCK], int number, row x)
{
    for (int lane = 0; lane < LANES; lane++) {
        memcpy(out[lane] + 16 * number, (const uint8_t *)&x + 16 * lane, 16);
    }
}

TARGET static void four_blocks(uint8_t out[CHACHA20_QUAD][CHACHA20_BLOCK], const chacha20_key *key,
                               const chacha20_place places[CHACHA20_QUAD])
{
    /* "expand 32-byte k" */
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    const row a = spread(constants), b = spread(key->word), c = spread(key->word + 4);
    row d[SETS];
    state s[SETS];
    memcpy(d, places, sizeof d);
    for (int i = 0; i < SETS; i++) {
        s[i] = (state){a, b, c, d[i]};
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < SETS; i++) {
            double_round(&s[i]);
        }
    }
    for (int i = 0; i < SETS; i++) {
        store_row(out + i * LANES, 0, s[i].a + a);
        store_row(out + i * LANES, 1, s[i].b + b);
        store_row(out + i * LANES, 2, s[i].c + c);
        store_row(out + i * LANES, 3, s[i].d + d[i]);
    }
}
