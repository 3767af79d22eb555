/* Where plain frames of a connection are read without the event loop's reading. */
#ifndef HASHPOOL_INLET_H
#define HASHPOOL_INLET_H

#include "lane.h"

typedef struct {
    PyObject_HEAD
    PyObject *cipher;
    Lanes *lanes;
    bool settles;    /* the connection is an upstream, so what is plain are successes */
    PyObject *tell;  /* called with what has become of a batch where somebody has to know */
    PyObject *rest;  /* called with frames that are left */
    PyObject *ended; /* called when reading must end, with the reason or None */
    bool is_broken;  /* something that was read is lost */
    int fd;          /* a number of its own for the socket; -1 when it is closed */
} Inlet;

extern PyType_Spec inlet_spec;

#endif
