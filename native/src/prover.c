/* Prover: from what a miner changed to the header and its hash, for one job on one tip. */

#include "judge.h"

typedef struct {
    PyObject_HEAD
    sha256 begun; /* the coinbase's prefix, taken */
    uint8_t *suffix;
    Py_ssize_t suffix_size;
    uint8_t *path;
    Py_ssize_t nodes;
    uint8_t previous[SHA256_SIZE];
    uint32_t bits;
} Prover;

static uint8_t *copy(const void *from, Py_ssize_t size)
{
    uint8_t *to = PyMem_Malloc(size ? (size_t)size : 1);
    if (to == NULL) {
        PyErr_NoMemory();
    } else if (size) {
        memcpy(to, from, (size_t)size);
    }
    return to;
}

static int keep_path(Prover *self, PyObject *path)
{
    self->nodes = PyTuple_GET_SIZE(path);
    self->path = PyMem_Malloc(self->nodes ? (size_t)self->nodes * SHA256_SIZE : 1);
    if (self->path == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < self->nodes; i++) {
        const uint8_t *node = kernel_bytes(PyTuple_GET_ITEM(path, i), "a node of the path", SHA256_SIZE);
        if (node == NULL) {
            return -1;
        }
        memcpy(self->path + i * SHA256_SIZE, node, SHA256_SIZE);
    }
    return 0;
}

static PyObject *prover_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"prefix", "suffix", "path", "previous", "bits", NULL};
    PyObject *prefix, *suffix, *path, *previous, *bits;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!OO:Prover", names, &PyBytes_Type, &prefix, &PyBytes_Type,
                                     &suffix, &PyTuple_Type, &path, &previous, &bits)) {
        return NULL;
    }
    const uint8_t *hash = kernel_bytes(previous, "previous", SHA256_SIZE);
    if (hash == NULL) {
        return NULL;
    }
    Prover *self = (Prover *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    memcpy(self->previous, hash, SHA256_SIZE);
    self->suffix_size = PyBytes_GET_SIZE(suffix);
    self->suffix = copy(PyBytes_AS_STRING(suffix), self->suffix_size);
    if (self->suffix == NULL || keep_path(self, path) < 0 || kernel_u32(bits, "bits", &self->bits) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    sha256_begin(&self->begun, kernel_sha256);
    sha256_take(&self->begun, (const uint8_t *)PyBytes_AS_STRING(prefix), (size_t)PyBytes_GET_SIZE(prefix));
    return (PyObject *)self;
}

static void prover_dealloc(Prover *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(self->suffix);
    PyMem_Free(self->path);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The merkle root around an extranonce: the coinbase's hash, and up the path. */
static void find_root(const Prover *self, const uint8_t *extranonce, size_t size, uint8_t root[SHA256_SIZE])
{
    sha256 coinbase = self->begun;
    sha256_take(&coinbase, extranonce, size);
    sha256_take(&coinbase, self->suffix, (size_t)self->suffix_size);
    sha256_end_double(&coinbase, root);
    kernel_sha256->climb(root, self->path, (size_t)self->nodes);
}

static void write_header(const Prover *self, const uint8_t root[SHA256_SIZE], uint32_t version, uint32_t ntime,
                         uint32_t nonce, uint8_t header[PROVED_SIZE], uint8_t hash[SHA256_SIZE])
{
    store32(header, version);
    memcpy(header + 4, self->previous, SHA256_SIZE);
    memcpy(header + 36, root, SHA256_SIZE);
    store32(header + 68, ntime);
    store32(header + 72, self->bits);
    store32(header + 76, nonce);
    sha256 first;
    sha256_begin(&first, kernel_sha256);
    sha256_take(&first, header, PROVED_SIZE);
    sha256_end_double(&first, hash);
}

void prover_header(const PyObject *prover, const uint8_t *extranonce, size_t size, uint32_t version, uint32_t ntime,
                   uint32_t nonce, uint8_t header[PROVED_SIZE], uint8_t hash[SHA256_SIZE])
{
    const Prover *self = (const Prover *)prover;
    uint8_t root[SHA256_SIZE];
    find_root(self, extranonce, size, root);
    write_header(self, root, version, ntime, nonce, header, hash);
}

/* (header, hash) for a root and the arguments version, ntime, nonce. */
static PyObject *prove(const Prover *self, const uint8_t root[SHA256_SIZE], PyObject *const *fields)
{
    uint32_t version, ntime, nonce;
    if (kernel_u32(fields[0], "version", &version) < 0 || kernel_u32(fields[1], "ntime", &ntime) < 0 ||
        kernel_u32(fields[2], "nonce", &nonce) < 0) {
        return NULL;
    }
    PyObject *header = PyBytes_FromStringAndSize(NULL, PROVED_SIZE);
    PyObject *hash = PyBytes_FromStringAndSize(NULL, SHA256_SIZE);
    PyObject *both = PyTuple_New(2);
    if (header == NULL || hash == NULL || both == NULL) {
        Py_XDECREF(header);
        Py_XDECREF(hash);
        Py_XDECREF(both);
        return NULL;
    }
    write_header(self, root, version, ntime, nonce, (uint8_t *)PyBytes_AS_STRING(header),
                 (uint8_t *)PyBytes_AS_STRING(hash));
    PyTuple_SET_ITEM(both, 0, header);
    PyTuple_SET_ITEM(both, 1, hash);
    return both;
}

bool prover_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)prover_dealloc;
}

static int expect_four(const char *method, Py_ssize_t given)
{
    if (given != 4) {
        PyErr_Format(PyExc_TypeError, "%s takes 4 arguments, %zd were given", method, given);
        return -1;
    }
    return 0;
}

static PyObject *prover_prove(Prover *self, PyObject *const *args, Py_ssize_t count)
{
    uint8_t root[SHA256_SIZE];
    if (expect_four("prove", count) < 0) {
        return NULL;
    }
    const uint8_t *extranonce = kernel_bytes(args[0], "extranonce", -1);
    if (extranonce == NULL) {
        return NULL;
    }
    find_root(self, extranonce, (size_t)PyBytes_GET_SIZE(args[0]), root);
    return prove(self, root, args + 1);
}

static PyObject *prover_prove_root(Prover *self, PyObject *const *args, Py_ssize_t count)
{
    if (expect_four("prove_root", count) < 0) {
        return NULL;
    }
    const uint8_t *root = kernel_bytes(args[0], "root", SHA256_SIZE);
    return root == NULL ? NULL : prove(self, root, args + 1);
}

static PyObject *prover_root(Prover *self, PyObject *extranonce)
{
    uint8_t root[SHA256_SIZE];
    const uint8_t *bytes = kernel_bytes(extranonce, "extranonce", -1);
    if (bytes == NULL) {
        return NULL;
    }
    find_root(self, bytes, (size_t)PyBytes_GET_SIZE(extranonce), root);
    return PyBytes_FromStringAndSize((const char *)root, SHA256_SIZE);
}

static PyMethodDef prover_methods[] = {
    {"prove", (PyCFunction)(void (*)(void))prover_prove, METH_FASTCALL,
     "prove(extranonce, version, ntime, nonce) -> (header of 80 bytes, its hash)"},
    {"prove_root", (PyCFunction)(void (*)(void))prover_prove_root, METH_FASTCALL,
     "prove_root(root, version, ntime, nonce) -> (header of 80 bytes, its hash)"},
    {"root", (PyCFunction)prover_root, METH_O, "root(extranonce) -> merkle root"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot prover_slots[] = {
    {Py_tp_doc, "Prover(prefix, suffix, path, previous, bits): headers and hashes of one job on one tip."},
    {Py_tp_new, (void *)prover_new},
    {Py_tp_dealloc, (void *)prover_dealloc},
    {Py_tp_methods, prover_methods},
    {0, NULL},
};

PyType_Spec prover_spec = {
    .name = "hashpool_kernel.Prover",
    .basicsize = sizeof(Prover),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = prover_slots,
};
