/* Outlet: frames that C has made leave without the event loop, where that has nothing to send. */

#include "outlet.h"

#include "own_socket.h"

#include <sys/socket.h>

static PyObject *outlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *cipher, *unsent, *rest;
    int fd;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Outlet takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OiOO:Outlet", &cipher, &fd, &unsent, &rest)) {
        return NULL;
    }
    if (!transport_check(cipher) || !PyCallable_Check(unsent) || !PyCallable_Check(rest)) {
        PyErr_SetString(PyExc_TypeError, "Outlet takes a Transport of this kernel, a socket, and two callables");
        return NULL;
    }
    Outlet *self = (Outlet *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->cipher = Py_NewRef(cipher);
    self->unsent = Py_NewRef(unsent);
    self->rest = Py_NewRef(rest);
    self->fd = own_socket(fd);
    if (self->fd < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int outlet_traverse(Outlet *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->cipher);
    Py_VISIT(self->unsent);
    Py_VISIT(self->rest);
    return 0;
}

static int outlet_clear(Outlet *self)
{
    own_socket_close(&self->fd);
    Py_CLEAR(self->cipher);
    Py_CLEAR(self->unsent);
    Py_CLEAR(self->rest);
    return 0;
}

static void outlet_dealloc(Outlet *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    outlet_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

bool outlet_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)outlet_dealloc;
}

bool outlet_is_free(Outlet *self)
{
    if (self->fd < 0) {
        return false;
    }
    PyObject *told = PyObject_CallNoArgs(self->unsent);
    long bytes = told == NULL ? -1 : PyLong_AsLong(told);
    Py_XDECREF(told);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    return bytes == 0 && self->fd >= 0;
}

/* Have the event loop send what the socket has not taken; it finds out what is wrong, too. Where it cannot have that,
 * the connection ends: what is sealed later makes no sense behind a gap.
 */
static void send_rest(Outlet *self, PyObject *sealed, Py_ssize_t sent)
{
    PyObject *said = PyObject_CallFunction(self->rest, "y#", PyBytes_AS_STRING(sealed) + sent,
                                           PyBytes_GET_SIZE(sealed) - sent);
    if (said == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
        shutdown(self->fd, SHUT_RDWR);
        own_socket_close(&self->fd);
    }
    Py_XDECREF(said);
}

bool outlet_send(Outlet *self, const uint8_t *frames, size_t size, size_t count)
{
    PyObject *sealed = transport_send_run((Transport *)self->cipher, frames, size, count);
    if (sealed == NULL) {
        /* Nothing is sealed; whoever sends it now raises the same. */
        PyErr_Clear();
        return false;
    }
    ssize_t sent = send(self->fd, PyBytes_AS_STRING(sealed), (size_t)PyBytes_GET_SIZE(sealed),
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    sent = sent < 0 ? 0 : sent;
    if (sent < PyBytes_GET_SIZE(sealed)) {
        send_rest(self, sealed, sent);
    }
    Py_DECREF(sealed);
    return true;
}

static PyObject *outlet_close(Outlet *self, PyObject *Py_UNUSED(ignored))
{
    own_socket_close(&self->fd);
    Py_RETURN_NONE;
}

static PyMethodDef outlet_methods[] = {
    {"close", (PyCFunction)outlet_close, METH_NOARGS, "close(): nothing leaves here any more"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot outlet_slots[] = {
    {Py_tp_doc, "Outlet(cipher, socket, unsent, rest): sends frames by a socket that an event loop writes to as well.\n\n"
                "unsent tells how many bytes that has yet to send, and rest is given what the socket does not take."},
    {Py_tp_new, (void *)outlet_new},
    {Py_tp_dealloc, (void *)outlet_dealloc},
    {Py_tp_traverse, (void *)outlet_traverse},
    {Py_tp_clear, (void *)outlet_clear},
    {Py_tp_methods, outlet_methods},
    {0, NULL},
};

PyType_Spec outlet_spec = {
    .name = "hashpool_kernel.Outlet",
    .basicsize = sizeof(Outlet),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = outlet_slots,
};
