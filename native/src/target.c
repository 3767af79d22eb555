/* Targets that come from Python. */

#include "target.h"

int target_read(PyObject *number, uint8_t target[SHA256_SIZE])
{
    if (!PyLong_Check(number)) {
        PyErr_Format(PyExc_TypeError, "a target is an int, not %s", Py_TYPE(number)->tp_name);
        return -1;
    }
#if PY_VERSION_HEX >= 0x030D0000
    const int form = Py_ASNATIVEBYTES_LITTLE_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER | Py_ASNATIVEBYTES_REJECT_NEGATIVE;
    Py_ssize_t size = PyLong_AsNativeBytes(number, target, SHA256_SIZE, form);
    if (size > SHA256_SIZE) {
        PyErr_SetString(PyExc_OverflowError, "a target has 256 bits");
    }
    return size < 0 || size > SHA256_SIZE ? -1 : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)number, target, SHA256_SIZE, 1, 0);
#endif
}
