/* Finder: plain shares of SV1 miners read and judged, as protocols.translation.share.find_plain says. */

#include "finder.h"

#include "target.h"
#include "words.h"

#include <structmember.h>

enum { MOST_EXTRANONCE = 256, SUBMIT_FIELDS = 7, SHARE_FIELDS = 5 };

static const char *const texts[NAMES] = {
    [WORK] = "work",     [PATTERN] = "pattern", [END] = "end",         [PADDING] = "padding",
    [TARGET] = "target", [PROVER] = "_prover",  [DRAFT] = "draft",     [TIP] = "tip",
    [VERSION] = "version", [ROLLABLE] = "rollable", [MIN_NTIME] = "min_ntime", [MADE] = "prover",
    [JOB_ID] = "job_id", [HASHES] = "hashes",
};

static int finder_traverse(Finder *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->submit);
    Py_VISIT(self->share);
    for (int i = 0; i < NAMES; i++) {
        Py_VISIT(self->attributes[i].type);
    }
    return 0;
}

static int finder_clear(Finder *self)
{
    Py_CLEAR(self->submit);
    Py_CLEAR(self->share);
    for (int i = 0; i < NAMES; i++) {
        Py_CLEAR(self->attributes[i].type);
    }
    return 0;
}

static void finder_dealloc(Finder *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    finder_clear(self);
    for (int i = 0; i < NAMES; i++) {
        Py_XDECREF(self->attributes[i].name);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

/* Whether it is a class of named tuples with so many fields; -1 with an exception set if not. */
static int expect_fields(PyTypeObject *type, Py_ssize_t size)
{
    PyObject *fields = PyObject_GetAttrString((PyObject *)type, "_fields");
    if (fields == NULL) {
        return -1;
    }
    bool is_right = PyType_IsSubtype(type, &PyTuple_Type) && type->tp_basicsize == PyTuple_Type.tp_basicsize &&
                    PyTuple_Check(fields) && PyTuple_GET_SIZE(fields) == size;
    Py_DECREF(fields);
    if (!is_right) {
        PyErr_Format(PyExc_TypeError, "%s is no named tuple of %zd fields", type->tp_name, size);
    }
    return is_right ? 0 : -1;
}

static PyObject *finder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *submit, *share;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Finder takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!O!:Finder", &PyType_Type, &submit, &PyType_Type, &share)) {
        return NULL;
    }
    if (expect_fields((PyTypeObject *)submit, SUBMIT_FIELDS) < 0 ||
        expect_fields((PyTypeObject *)share, SHARE_FIELDS) < 0) {
        return NULL;
    }
    Finder *self = (Finder *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->submit = (PyTypeObject *)Py_NewRef(submit);
    self->share = (PyTypeObject *)Py_NewRef(share);
    for (int i = 0; i < NAMES; i++) {
        self->attributes[i].name = PyUnicode_InternFromString(texts[i]);
        if (self->attributes[i].name == NULL) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

/* Remember where objects of this class have the attribute, if they have a slot for it. */
static void learn(attribute *of, PyTypeObject *type)
{
    PyObject *found = PyObject_GetAttr((PyObject *)type, of->name);
    if (found == NULL) {
        /* The class has no such attribute; the object may have it all the same. */
        PyErr_Clear();
        return;
    }
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        const PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX && member->flags == 0 && PyType_IsSubtype(type, PyDescr_TYPE(found))) {
            of->slot = member->offset;
            of->type = (PyTypeObject *)Py_NewRef((PyObject *)type);
        }
    }
    Py_DECREF(found);
}

/* A new reference, or NULL with an exception set. */
static PyObject *get(Finder *self, PyObject *object, finder_name name)
{
    attribute *of = &self->attributes[name];
    if (of->type == NULL) {
        learn(of, Py_TYPE(object));
    }
    if (of->type == Py_TYPE(object)) {
        PyObject *found = *(PyObject **)((char *)object + of->slot);
        if (found != NULL) {
            return Py_NewRef(found);
        }
    }
    return PyObject_GetAttr(object, of->name);
}

void finder_let_go(terms *of)
{
    while (of->count) {
        Py_DECREF(of->held[--of->count]);
    }
}

/* A reference that the terms hold, or NULL with an exception set. */
static PyObject *hold(Finder *self, terms *of, PyObject *object, finder_name name)
{
    /* Nothing is asked for once something has failed. */
    PyObject *found = object == NULL || of->has_failed ? NULL : get(self, object, name);
    if (found == NULL) {
        of->has_failed = true;
        return NULL;
    }
    of->held[of->count++] = found;
    return found;
}

int finder_u32(Finder *self, PyObject *object, finder_name name, uint32_t *number)
{
    PyObject *found = get(self, object, name);
    if (found == NULL) {
        return -1;
    }
    int result = kernel_u32(found, texts[name], number);
    Py_DECREF(found);
    return result;
}

int finder_double(Finder *self, PyObject *object, finder_name name, double *number)
{
    PyObject *found = get(self, object, name);
    if (found == NULL) {
        return -1;
    }
    *number = PyFloat_AsDouble(found);
    Py_DECREF(found);
    return *number == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int read_terms(Finder *self, PyObject *job, terms *of)
{
    of->job = job;
    PyObject *work = of->work = hold(self, of, job, WORK);
    PyObject *pattern = hold(self, of, work, PATTERN);
    PyObject *draft = hold(self, of, pattern, DRAFT);
    of->prover = hold(self, of, pattern, PROVER);
    of->end = hold(self, of, work, END);
    of->padding = hold(self, of, work, PADDING);
    PyObject *target = hold(self, of, work, TARGET);
    PyObject *tip = hold(self, of, pattern, TIP);
    if (of->prover == Py_None) {
        /* The first share of it. */
        of->prover = hold(self, of, pattern, MADE);
    }
    if (of->has_failed || finder_u32(self, draft, VERSION, &of->version) < 0 ||
        finder_u32(self, draft, ROLLABLE, &of->rollable) < 0 ||
        finder_u32(self, tip, MIN_NTIME, &of->min_ntime) < 0 || target_read(target, of->target) < 0) {
        return -1;
    }
    if (kernel_bytes(of->end, "end", -1) == NULL || kernel_bytes(of->padding, "padding", -1) == NULL) {
        return -1;
    }
    return 0;
}

/* A named tuple of these new references, which are its own from now on; NULL with an exception set if one is. */
static PyObject *named(PyTypeObject *type, PyObject *const *items, Py_ssize_t size)
{
    PyObject *tuple = type->tp_alloc(type, size);
    bool is_whole = tuple != NULL;
    for (Py_ssize_t i = 0; i < size; i++) {
        is_whole = is_whole && items[i] != NULL;
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, items[i]);
        } else {
            Py_XDECREF(items[i]);
        }
    }
    if (!is_whole) {
        Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *text_of(const text *found)
{
    return PyUnicode_FromStringAndSize(found->at, found->size);
}

/* What miner and upstream need of a good share. */
static PyObject *tell(Finder *self, const submission *said, const terms *by, const proof *of, const finder_own *own)
{
    PyObject *submit = named(self->submit,
                             (PyObject *[]){PyLong_FromLongLong(said->id), text_of(&said->job_id),
                                            PyBytes_FromStringAndSize((const char *)said->extranonce2, own->size),
                                            PyLong_FromUnsignedLong(said->ntime), PyLong_FromUnsignedLong(said->nonce),
                                            PyLong_FromUnsignedLong(said->bits), text_of(&said->user)},
                             SUBMIT_FIELDS);
    Py_ssize_t padding = PyBytes_GET_SIZE(by->padding), first = PyBytes_GET_SIZE(own->extranonce1);
    PyObject *extranonce = PyBytes_FromStringAndSize(NULL, padding + first + own->size);
    if (extranonce != NULL) {
        char *at = PyBytes_AS_STRING(extranonce);
        memcpy(at, PyBytes_AS_STRING(by->padding), (size_t)padding);
        memcpy(at + padding, PyBytes_AS_STRING(own->extranonce1), (size_t)first);
        memcpy(at + padding + first, said->extranonce2, (size_t)own->size);
    }
    PyObject *share = named(self->share,
                            (PyObject *[]){PyLong_FromUnsignedLong(by->version | said->bits),
                                           PyBytes_FromStringAndSize((const char *)of->hash, SHA256_SIZE), extranonce,
                                           Py_NewRef(Py_True),
                                           PyBytes_FromStringAndSize((const char *)of->header, PROVED_SIZE)},
                            SHARE_FIELDS);
    PyObject *found = submit == NULL || share == NULL ? NULL : PyTuple_Pack(3, submit, share, by->job);
    Py_XDECREF(submit);
    Py_XDECREF(share);
    return found;
}

/* Whether it is a good share, and the proof of it. */
static bool is_good(const submission *said, const terms *by, const finder_own *own, proof *of)
{
    /* All readings of version bits agree then. */
    if ((by->version & own->mask) || (said->bits & ~(own->mask & by->rollable))) {
        return false;
    }
    if (said->ntime < by->min_ntime || said->ntime > own->now) {
        return false;
    }
    size_t end = (size_t)PyBytes_GET_SIZE(by->end), first = (size_t)PyBytes_GET_SIZE(own->extranonce1);
    size_t size = (size_t)own->size;
    uint8_t extranonce[MOST_EXTRANONCE];
    if (!prover_check(by->prover) || end > MOST_EXTRANONCE || first > MOST_EXTRANONCE ||
        end + first + size > MOST_EXTRANONCE) {
        return false;
    }
    memcpy(extranonce, PyBytes_AS_STRING(by->end), end);
    memcpy(extranonce + end, PyBytes_AS_STRING(own->extranonce1), first);
    memcpy(extranonce + end + first, said->extranonce2, size);
    prover_header(by->prover, extranonce, end + first + size, by->version | said->bits, said->ntime, said->nonce,
                  of->header, of->hash);
    return is_up_to(of->hash, by->target);
}

int finder_judge(Finder *self, PyObject *jobs, const finder_own *own, const submission *said, terms *by, proof *of)
{
    PyObject *job_id = text_of(&said->job_id);
    PyObject *job = job_id == NULL ? NULL : PyDict_GetItemWithError(jobs, job_id);
    Py_XDECREF(job_id);
    if (job == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    by->held[by->count++] = Py_NewRef(job);
    return read_terms(self, job, by) < 0 ? -1 : is_good(said, by, own, of);
}

bool finder_check(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)finder_dealloc;
}

static PyObject *finder_find(Finder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 || !PyBytes_Check(args[0]) || !PyDict_CheckExact(args[1]) || !PyTuple_CheckExact(args[2]) ||
        PyTuple_GET_SIZE(args[2]) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(args[2], 0))) {
        PyErr_SetString(PyExc_TypeError, "find takes a line, a dictionary of jobs, (extranonce1, size), mask and now");
        return NULL;
    }
    finder_own own = {.extranonce1 = PyTuple_GET_ITEM(args[2], 0),
                      .size = PyLong_AsSsize_t(PyTuple_GET_ITEM(args[2], 1))};
    own.now = own.size == -1 && PyErr_Occurred() ? -1 : PyLong_AsLongLong(args[4]);
    if ((own.now == -1 && PyErr_Occurred()) || kernel_u32(args[3], "mask", &own.mask) < 0) {
        return NULL;
    }
    submission said;
    if (own.size < 0 || own.size > MOST_EXTRANONCE2 ||
        !submission_read(PyBytes_AS_STRING(args[0]), PyBytes_GET_SIZE(args[0]), own.size, &said)) {
        Py_RETURN_NONE;
    }
    terms by = {0};
    proof of;
    int is_found = finder_judge(self, args[1], &own, &said, &by, &of);
    PyObject *found = is_found < 0 ? NULL : is_found ? tell(self, &said, &by, &of, &own) : Py_NewRef(Py_None);
    finder_let_go(&by);
    return found;
}

static PyMethodDef finder_methods[] = {
    {"find", (PyCFunction)(void (*)(void))finder_find, METH_FASTCALL,
     "find(line, jobs, (extranonce1, extranonce2_size), mask, now) -> (submit, share, job), or None"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot finder_slots[] = {
    {Py_tp_doc, "Finder(submit, share): finds plain shares in lines, and tells them as these named tuples."},
    {Py_tp_new, (void *)finder_new},
    {Py_tp_dealloc, (void *)finder_dealloc},
    {Py_tp_traverse, (void *)finder_traverse},
    {Py_tp_clear, (void *)finder_clear},
    {Py_tp_methods, finder_methods},
    {0, NULL},
};

PyType_Spec finder_spec = {
    .name = "hashpool_kernel.Finder",
    .basicsize = sizeof(Finder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = finder_slots,
};
