/* Targets that come from Python. */

#include "target.h"

int target_read(PyObject *number, uint8_t target[SHA256_SIZE])
{
    PyObject *packed = PyObject_CallMethod(number, "to_bytes", "is", SHA256_SIZE, "little");
    const uint8_t *content = packed == NULL ? NULL : kernel_bytes(packed, "a target", SHA256_SIZE);
    if (content != NULL) {
        memcpy(target, content, SHA256_SIZE);
    }
    Py_XDECREF(packed);
    return content == NULL ? -1 : 0;
}
