/* Hashes and targets: numbers of 256 bits, little-endian in memory. */
#ifndef HASHPOOL_TARGET_H
#define HASHPOOL_TARGET_H

#include "kernel.h"

/* A target that Python has, as bytes; -1 with an exception set. */
int target_read(PyObject *number, uint8_t target[SHA256_SIZE]);

/* Whether a <= b. */
static inline bool is_up_to(const uint8_t a[SHA256_SIZE], const uint8_t b[SHA256_SIZE])
{
    for (int i = SHA256_SIZE - 1; i >= 0; i--) {
        if (a[i] != b[i]) {
            return a[i] < b[i];
        }
    }
    return true;
}

#endif
