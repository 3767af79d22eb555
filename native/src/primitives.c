/* The algorithms by themselves and by each engine, for the tests: nothing else calls them. */

#include "kernel.h"

#include "aead.h"

static const sha256_engine *sha256_named(const char *name)
{
    const sha256_engine *best = sha256_best();
    if (strcmp(name, best->name) == 0) {
        return best;
    }
    if (strcmp(name, sha256_portable.name) == 0) {
        return &sha256_portable;
    }
    PyErr_Format(PyExc_ValueError, "no engine %s here", name);
    return NULL;
}

static const chacha20_engine *chacha20_named(const char *name)
{
    const chacha20_engine *best = chacha20_best();
    if (strcmp(name, best->name) == 0) {
        return best;
    }
    if (strcmp(name, chacha20_narrow.name) == 0) {
        return &chacha20_narrow;
    }
    PyErr_Format(PyExc_ValueError, "no engine %s here", name);
    return NULL;
}

/* sha256(engine, *pieces): taken one after another. */
static PyObject *primitive_sha256(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name = PyTuple_GET_SIZE(args) ? PyUnicode_AsUTF8(PyTuple_GET_ITEM(args, 0)) : "";
    const sha256_engine *engine = name == NULL ? NULL : sha256_named(name);
    uint8_t digest[SHA256_SIZE];
    sha256 hash;
    if (engine == NULL) {
        return NULL;
    }
    sha256_begin(&hash, engine);
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *piece = PyTuple_GET_ITEM(args, i);
        const uint8_t *bytes = kernel_bytes(piece, "a piece", -1);
        if (bytes == NULL) {
            return NULL;
        }
        sha256_take(&hash, bytes, (size_t)PyBytes_GET_SIZE(piece));
    }
    sha256_end(&hash, digest);
    wipe(&hash, sizeof hash);
    return PyBytes_FromStringAndSize((const char *)digest, sizeof digest);
}

/* chacha20(engine, key, place of 16 bytes): that block and the three after it, 256 bytes. */
static PyObject *primitive_chacha20(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name;
    PyObject *key, *place;
    if (!PyArg_ParseTuple(args, "sOO:chacha20", &name, &key, &place)) {
        return NULL;
    }
    const chacha20_engine *engine = chacha20_named(name);
    const uint8_t *secret = engine == NULL ? NULL : kernel_bytes(key, "key", CHACHA20_KEY);
    const uint8_t *first = secret == NULL ? NULL : kernel_bytes(place, "place", 16);
    if (first == NULL) {
        return NULL;
    }
    chacha20_key loaded;
    chacha20_place places[CHACHA20_QUAD];
    uint8_t blocks[CHACHA20_QUAD][CHACHA20_BLOCK];
    chacha20_load_key(&loaded, secret);
    for (uint32_t i = 0; i < CHACHA20_QUAD; i++) {
        memcpy(places[i].word, first, 16);
        places[i].word[0] += i;
    }
    engine->blocks(blocks, &loaded, places);
    return PyBytes_FromStringAndSize((const char *)blocks, sizeof blocks);
}

/* poly1305(key, data): the tag. */
static PyObject *primitive_poly1305(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *key, *data;
    if (!PyArg_ParseTuple(args, "OO:poly1305", &key, &data)) {
        return NULL;
    }
    const uint8_t *secret = kernel_bytes(key, "key", POLY1305_KEY);
    const uint8_t *bytes = secret == NULL ? NULL : kernel_bytes(data, "data", -1);
    if (bytes == NULL) {
        return NULL;
    }
    poly1305 mac;
    uint8_t tag[POLY1305_TAG];
    poly1305_begin(&mac, secret);
    poly1305_take(&mac, bytes, (size_t)PyBytes_GET_SIZE(data));
    poly1305_end(&mac, tag);
    return PyBytes_FromStringAndSize((const char *)tag, sizeof tag);
}

PyMethodDef primitives[] = {
    {"sha256", primitive_sha256, METH_VARARGS, "sha256(engine, *pieces) -> digest"},
    {"chacha20", primitive_chacha20, METH_VARARGS, "chacha20(engine, key, place) -> four blocks"},
    {"poly1305", primitive_poly1305, METH_VARARGS, "poly1305(key, data) -> tag"},
    {NULL, NULL, 0, NULL},
};
