/* Rows of the ledger out of entries, as roles.credit.batch lays them out. */

#include "judge.h"

enum {
    HASH = 32,
    PREVIOUS = 4, /* place of the tip in a header */
    TAIL = 29,
    ROW = HASH + PROVED_SIZE + TAIL,
    ENTRY_FIELDS = 6,
    TAIL_FIELDS = 3,
};

/* Whether two numbers are the same; -1 with an exception set. */
static int is_same(PyObject *a, PyObject *b)
{
    return a == b ? 1 : PyObject_RichCompareBool(a, b, Py_EQ);
}

static int is_bytes(PyObject *object, Py_ssize_t size)
{
    return PyBytes_CheckExact(object) && PyBytes_GET_SIZE(object) == size;
}

/* Write the tail that rows of a key have, if target and amount of the entry are those; 0 if they are not, -1 with an
 * exception set.
 */
static int write_tail(PyObject *known, PyObject *entry, char *tail)
{
    if (!PyTuple_CheckExact(known) || PyTuple_GET_SIZE(known) != TAIL_FIELDS ||
        !is_bytes(PyTuple_GET_ITEM(known, 2), TAIL)) {
        return 0;
    }
    int same = is_same(PyTuple_GET_ITEM(known, 0), PyTuple_GET_ITEM(entry, 2));
    if (same == 1) {
        same = is_same(PyTuple_GET_ITEM(known, 1), PyTuple_GET_ITEM(entry, 3));
    }
    if (same == 1) {
        memcpy(tail, PyBytes_AS_STRING(PyTuple_GET_ITEM(known, 2)), TAIL);
    }
    return same;
}

/* Write one row; 0 if the entry is not one of these, -1 with an exception set. */
static int write_row(PyObject *entry, const char *tip, PyObject *tails, char *row)
{
    if (!PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != ENTRY_FIELDS) {
        return 0;
    }
    PyObject *hash = PyTuple_GET_ITEM(entry, 0), *header = PyTuple_GET_ITEM(entry, 1);
    if (!is_bytes(hash, HASH) || !is_bytes(header, PROVED_SIZE) || PyTuple_GET_ITEM(entry, 5) != Py_False ||
        memcmp(PyBytes_AS_STRING(header) + PREVIOUS, tip, HASH) != 0) {
        return 0;
    }
    memcpy(row, PyBytes_AS_STRING(hash), HASH);
    memcpy(row + HASH, PyBytes_AS_STRING(header), PROVED_SIZE);
    PyObject *known = PyDict_GetItemWithError(tails, PyTuple_GET_ITEM(entry, 4));
    if (known == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    /* Comparing may run code that changes the dictionary. */
    Py_INCREF(known);
    int result = write_tail(known, entry, row + HASH + PROVED_SIZE);
    Py_DECREF(known);
    return result;
}

PyObject *kernel_rows(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 3 || !PyList_CheckExact(args[0]) || !is_bytes(args[1], HASH) || !PyDict_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "rows takes a list of entries, a tip of 32 bytes and a dictionary of tails");
        return NULL;
    }
    Py_ssize_t size = PyList_GET_SIZE(args[0]);
    PyObject *hashes = PyList_New(size), *body = PyBytes_FromStringAndSize(NULL, size * ROW);
    int result = hashes == NULL || body == NULL ? -1 : 1;
    for (Py_ssize_t i = 0; result == 1 && i < size && i < PyList_GET_SIZE(args[0]); i++) {
        PyObject *entry = Py_NewRef(PyList_GET_ITEM(args[0], i));
        result = write_row(entry, PyBytes_AS_STRING(args[1]), args[2], PyBytes_AS_STRING(body) + i * ROW);
        if (result == 1) {
            PyList_SET_ITEM(hashes, i, Py_NewRef(PyTuple_GET_ITEM(entry, 0)));
        }
        Py_DECREF(entry);
    }
    if (PyList_GET_SIZE(args[0]) != size) {
        /* A comparison has run code that changed it. */
        result = result < 0 ? result : 0;
    }
    PyObject *both = result < 0 ? NULL : result ? PyTuple_Pack(2, hashes, body) : Py_NewRef(Py_None);
    Py_XDECREF(hashes);
    Py_XDECREF(body);
    return both;
}
