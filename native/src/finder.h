/* What a plain share of an SV1 miner is judged by. */
#ifndef HASHPOOL_FINDER_H
#define HASHPOOL_FINDER_H

#include "judge.h"
#include "submit_line.h"

enum { FINDER_ATTRIBUTES = 10 };

typedef enum {
    WORK,
    PATTERN,
    END,
    PADDING,
    TARGET,
    PROVER,
    DRAFT,
    TIP,
    VERSION,
    ROLLABLE,
    MIN_NTIME,
    MADE,
    JOB_ID,
    HASHES,
    NAMES
} finder_name;

/* An attribute by name, and its place in objects of the class that was the first to be asked for it, if that has a
 * slot for it.
 */
typedef struct {
    PyObject *name;
    PyTypeObject *type;
    Py_ssize_t slot;
} attribute;

typedef struct {
    PyObject_HEAD
    PyTypeObject *submit, *share;
    attribute attributes[NAMES];
} Finder;

/* What a share is judged by: references that are its own. */
typedef struct {
    PyObject *held[FINDER_ATTRIBUTES];
    int count;
    bool has_failed;
    PyObject *job, *work, *end, *padding, *prover;
    uint32_t version, rollable, min_ntime;
    uint8_t target[SHA256_SIZE];
} terms;

/* A header and its hash. */
typedef struct {
    uint8_t header[PROVED_SIZE], hash[SHA256_SIZE];
} proof;

/* Whose share it is: extranonce1, bytes; the size of extranonce2, at most MOST_EXTRANONCE2; the version bits that were
 * granted; and the Unix time.
 */
typedef struct {
    PyObject *extranonce1;
    Py_ssize_t size;
    uint32_t mask;
    long long now;
} finder_own;

/* Whether it is a Finder of this module. */
bool finder_check(PyObject *object);
/* 1 for a good share of one of these jobs, a dictionary, 0 for what is left to others, -1 with an exception set. The
 * terms are to be let go where they are not empty.
 */
int finder_judge(Finder *self, PyObject *jobs, const finder_own *own, const submission *said, terms *by, proof *of);
void finder_let_go(terms *of);
/* A number that an object has under a name; -1 with an exception set if it has none. */
int finder_u32(Finder *self, PyObject *object, finder_name name, uint32_t *number);
int finder_double(Finder *self, PyObject *object, finder_name name, double *number);

#endif
