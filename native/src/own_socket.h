/* A number of our own for a socket that an event loop has: it may close its own while we still know that, and have it given
 * to another socket; and it can wait for each by itself.
 */
#ifndef HASHPOOL_OWN_SOCKET_H
#define HASHPOOL_OWN_SOCKET_H

#include "kernel.h"

#include <fcntl.h>
#include <unistd.h>

/* The number; -1 with an exception set. */
static inline int own_socket(int theirs)
{
    int own = fcntl(theirs, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return own;
}

/* Close it, if that has not happened. */
static inline void own_socket_close(int *own)
{
    if (*own >= 0) {
        close(*own);
        *own = -1;
    }
}

#endif
