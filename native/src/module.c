/* hashpool_kernel: the share path's bytes in C. */

#include "finder.h"
#include "inlet.h"

#ifndef KERNEL_SOURCE
#error "setup.py tells the digest of the sources"
#endif

const sha256_engine *kernel_sha256;
const chacha20_engine *kernel_chacha20;

int kernel_u32(PyObject *argument, const char *name, uint32_t *number)
{
    unsigned long value = PyLong_AsUnsignedLong(argument);
    if (value == (unsigned long)-1 && PyErr_Occurred()) {
        return -1;
    }
    if (value > UINT32_MAX) {
        PyErr_Format(PyExc_OverflowError, "%s does not fit 32 bits", name);
        return -1;
    }
    *number = (uint32_t)value;
    return 0;
}

const uint8_t *kernel_bytes(PyObject *argument, const char *name, Py_ssize_t size)
{
    if (!PyBytes_Check(argument)) {
        PyErr_Format(PyExc_TypeError, "%s is not bytes", name);
        return NULL;
    }
    if (size >= 0 && PyBytes_GET_SIZE(argument) != size) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, not %zd", name, PyBytes_GET_SIZE(argument), size);
        return NULL;
    }
    return (const uint8_t *)PyBytes_AS_STRING(argument);
}

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
}

static int fill(PyObject *module)
{
    kernel_sha256 = sha256_best();
    kernel_chacha20 = chacha20_best();
    if (add_type(module, &prover_spec) < 0 || add_type(module, &transport_spec) < 0 ||
        add_type(module, &bench_spec) < 0 || add_type(module, &finder_spec) < 0 || add_type(module, &signer_spec) < 0 ||
        add_type(module, &course_spec) < 0 || add_type(module, &lane_spec) < 0 || add_type(module, &lanes_spec) < 0 ||
        add_type(module, &outlet_spec) < 0 || add_type(module, &inlet_spec) < 0 || add_type(module, &hub_spec) < 0 || add_type(module, &seat_spec) < 0 ||
        PyModule_AddIntConstant(module, "ABI", KERNEL_ABI) < 0 ||
        PyModule_AddStringConstant(module, "SOURCE", KERNEL_SOURCE) < 0 ||
        PyModule_AddStringConstant(module, "SHA256", kernel_sha256->name) < 0 ||
        PyModule_AddStringConstant(module, "CHACHA20", kernel_chacha20->name) < 0) {
        return -1;
    }
    if (PyModule_AddFunctions(module, primitives) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "IS_FAST", kernel_sha256->is_fast ? Py_True : Py_False);
}

static PyMethodDef functions[] = {
    {"judge", (PyCFunction)(void (*)(void))kernel_judge, METH_FASTCALL,
     "judge(known, frames, start, (now, moment), (judged, entries, low)) -> place of the first frame not judged"},
    {"take", (PyCFunction)(void (*)(void))kernel_take, METH_FASTCALL,
     "take(cipher, data, known, (now, moment), (judged, entries, low)) -> the frames that are not judged"},
    {"rows", (PyCFunction)(void (*)(void))kernel_rows, METH_FASTCALL,
     "rows(entries, tip, tails) -> (hashes, body), or None"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hashpool_kernel",
    .m_doc = "Headers, hashes and encrypted frames of the share path.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit_hashpool_kernel(void);

PyMODINIT_FUNC PyInit_hashpool_kernel(void)
{
    return PyModuleDef_Init(&definition);
}
