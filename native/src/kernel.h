/* The Python types of the module, and what they are told about the processor. */
#ifndef HASHPOOL_KERNEL_H
#define HASHPOOL_KERNEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "chacha20.h"
#include "sha256.h"

/* Raised by one with every change of an interface; roles/runtime/kernel.py names the one that it speaks. */
#define KERNEL_ABI 12

/* Chosen once, when the module is first imported. */
extern const sha256_engine *kernel_sha256;
extern const chacha20_engine *kernel_chacha20;

extern PyType_Spec prover_spec;
extern PyType_Spec signer_spec;
extern PyType_Spec transport_spec;
extern PyMethodDef primitives[];

/* An argument that fits 32 bits; -1 with an exception set if it does not. */
int kernel_u32(PyObject *argument, const char *name, uint32_t *number);
/* The bytes object's content if it has this size, else NULL with an exception set. */
const uint8_t *kernel_bytes(PyObject *argument, const char *name, Py_ssize_t size);

#endif
