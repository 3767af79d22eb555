/* A plain mining.submit, as nearly all firmware writes it. */
#ifndef HASHPOOL_SUBMIT_LINE_H
#define HASHPOOL_SUBMIT_LINE_H

#include "kernel.h"

enum { MOST_EXTRANONCE2 = 32 };

/* Text of a line, none of which needs an escape. */
typedef struct {
    const char *at;
    Py_ssize_t size;
} text;

/* What a submit says; the texts are the line's. */
typedef struct {
    long long id;
    text job_id, user;
    uint8_t extranonce2[MOST_EXTRANONCE2];
    uint32_t ntime, nonce, bits;
} submission;

/* Whether the line is a submit with an extranonce2 of so many bytes, at most MOST_EXTRANONCE2, and nothing else. */
bool submission_read(const char *line, Py_ssize_t size, Py_ssize_t extranonce2, submission *said);

#endif
