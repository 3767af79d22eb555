/* What the judge needs of provers, and the module of the judge. */
#ifndef HASHPOOL_JUDGE_H
#define HASHPOOL_JUDGE_H

#include "kernel.h"

enum { PROVED_SIZE = 80 };

extern PyType_Spec bench_spec;
extern PyType_Spec finder_spec;
extern PyType_Spec hub_spec;
extern PyType_Spec seat_spec;
PyObject *kernel_judge(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *kernel_take(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *kernel_rows(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* Whether it is a Prover of this module. */
bool prover_check(PyObject *object);
/* Header and hash around an extranonce, by a Prover of this module. */
void prover_header(const PyObject *prover, const uint8_t *extranonce, size_t size, uint32_t version, uint32_t ntime,
                   uint32_t nonce, uint8_t header[PROVED_SIZE], uint8_t hash[SHA256_SIZE]);

#endif
