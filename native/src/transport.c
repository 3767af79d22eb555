/* Transport: the type around sealer and opener. */

#include "transport.h"

#include <structmember.h>

static PyObject *transport_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"send_key", "receive_key", "limit", "forged", "exhausted", NULL};
    PyObject *send_key, *receive_key, *limit, *forged, *exhausted;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOOOO:Transport", names, &send_key, &receive_key, &limit, &forged,
                                     &exhausted)) {
        return NULL;
    }
    const uint8_t *send = kernel_bytes(send_key, "send_key", CHACHA20_KEY);
    const uint8_t *receive = send == NULL ? NULL : kernel_bytes(receive_key, "receive_key", CHACHA20_KEY);
    if (receive == NULL) {
        return NULL;
    }
    if (!PyCallable_Check(limit)) {
        PyErr_SetString(PyExc_TypeError, "limit is not callable");
        return NULL;
    }
    if (!PyExceptionClass_Check(forged) || !PyExceptionClass_Check(exhausted)) {
        PyErr_SetString(PyExc_TypeError, "forged and exhausted are exception classes");
        return NULL;
    }
    Transport *self = (Transport *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    chacha20_load_key(&self->send_key, send);
    chacha20_load_key(&self->receive_key, receive);
    self->limit = Py_NewRef(limit);
    self->forged = Py_NewRef(forged);
    self->exhausted = Py_NewRef(exhausted);
    self->need = SEALED_HEADER;
    return (PyObject *)self;
}

static int transport_traverse(Transport *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->limit);
    Py_VISIT(self->forged);
    Py_VISIT(self->exhausted);
    return 0;
}

/* Breaks cycles through the limit. The exceptions stay, since a broken stream still raises them. */
static int transport_clear(Transport *self)
{
    self->is_broken = true;
    Py_CLEAR(self->limit);
    return 0;
}

static void transport_dealloc(Transport *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    wipe(&self->send_key, sizeof self->send_key);
    wipe(&self->receive_key, sizeof self->receive_key);
    PyMem_Free(self->pending);
    PyMem_Free(self->payload);
    Py_XDECREF(self->header);
    Py_XDECREF(self->limit);
    Py_XDECREF(self->forged);
    Py_XDECREF(self->exhausted);
    type->tp_free(self);
    Py_DECREF(type);
}

bool transport_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)transport_dealloc;
}

static PyMethodDef transport_methods[] = {
    {"send", (PyCFunction)(void (*)(void))transport_send, METH_FASTCALL, "send(header, payload) -> sealed bytes"},
    {"send_many", (PyCFunction)transport_send_many, METH_O, "send_many(frames) -> sealed bytes of all"},
    {"receive", (PyCFunction)transport_receive, METH_O, "receive(data) -> [(header, payload), ...]"},
    {NULL, NULL, 0, NULL},
};

/* Named as in the Python twin; tests of the numbers' end set them. */
static PyMemberDef transport_members[] = {
    {"_send_nonce", T_ULONGLONG, offsetof(Transport, send_nonce), 0, NULL},
    {"_receive_nonce", T_ULONGLONG, offsetof(Transport, receive_nonce), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, "Transport(send_key, receive_key, limit, forged, exhausted): both directions of one session.\n\n"
                "limit is called with a header of 6 bytes and raises to refuse it; it judges by type and size\n"
                "alone, and is not asked again about a type that it has let pass with as large a payload.\n"
                "forged and exhausted are raised for bytes that do not authenticate and for the nonces' end."},
    {Py_tp_new, (void *)transport_new},
    {Py_tp_dealloc, (void *)transport_dealloc},
    {Py_tp_traverse, (void *)transport_traverse},
    {Py_tp_clear, (void *)transport_clear},
    {Py_tp_methods, transport_methods},
    {Py_tp_members, transport_members},
    {0, NULL},
};

PyType_Spec transport_spec = {
    .name = "hashpool_kernel.Transport",
    .basicsize = sizeof(Transport),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = transport_slots,
};
