/* Where frames leave by a socket that an event loop writes to as well. */
#ifndef HASHPOOL_OUTLET_H
#define HASHPOOL_OUTLET_H

#include "transport.h"

typedef struct {
    PyObject_HEAD
    PyObject *cipher;
    PyObject *unsent; /* called: how many bytes the event loop has yet to send */
    PyObject *rest;   /* called with what the socket does not take */
    int fd;           /* a number of its own for the socket; -1 when it is closed */
} Outlet;

extern PyType_Spec outlet_spec;

bool outlet_check(PyObject *object);
/* Whether it is open, and nothing else has to be sent first: this calls Python. */
bool outlet_is_free(Outlet *self);
/* Seal and send so many frames, header and payload each, of one that is free. False if nothing has happened, without a
 * call of Python and without an exception set.
 */
bool outlet_send(Outlet *self, const uint8_t *frames, size_t size, size_t count);

#endif
