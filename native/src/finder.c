/* Finder: plain shares of SV1 miners read and judged, as protocols.translation.share.find_plain says. */

#include "judge.h"
#include "words.h"

#include <structmember.h>

enum {
    MOST_DIGITS = 18,
    LEAST_PARAMS = 5,
    MOST_PARAMS = 6,
    NUMBER_DIGITS = 8,
    MOST_EXTRANONCE2 = 32,
    MOST_EXTRANONCE = 256,
    ATTRIBUTES = 10,
    SUBMIT_FIELDS = 7,
    SHARE_FIELDS = 5,
};

enum name { WORK, PATTERN, END, PADDING, TARGET, PROVER, DRAFT, TIP, VERSION, ROLLABLE, MIN_NTIME, MADE, NAMES };

static const char *const texts[NAMES] = {
    [WORK] = "work",     [PATTERN] = "pattern", [END] = "end",         [PADDING] = "padding",
    [TARGET] = "target", [PROVER] = "_prover",  [DRAFT] = "draft",     [TIP] = "tip",
    [VERSION] = "version", [ROLLABLE] = "rollable", [MIN_NTIME] = "min_ntime", [MADE] = "prover",
};

/* An attribute by name, and its place in objects of the class that was the first to be asked for it, if that has a
 * slot for it.
 */
typedef struct {
    PyObject *name;
    PyTypeObject *type;
    Py_ssize_t slot;
} attribute;

typedef struct {
    PyObject_HEAD
    PyTypeObject *submit, *share;
    attribute attributes[NAMES];
} Finder;

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
        if (member->type == T_OBJECT_EX && member->flags == 0) {
            of->slot = member->offset;
            of->type = (PyTypeObject *)Py_NewRef((PyObject *)type);
        }
    }
    Py_DECREF(found);
}

/* A new reference, or NULL with an exception set. */
static PyObject *get(Finder *self, PyObject *object, enum name name)
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

/* Text of a line, none of which needs an escape. */
typedef struct {
    const char *at;
    Py_ssize_t size;
} text;

typedef struct {
    const char *at, *end;
    long long id;
    text params[MOST_PARAMS];
    int count;
    bool has_id, has_method, has_params;
} reader;

static void skip_space(reader *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\r' || *in->at == '\n')) {
        in->at++;
    }
}

static bool take_char(reader *in, char wanted)
{
    skip_space(in);
    if (in->at < in->end && *in->at == wanted) {
        in->at++;
        return true;
    }
    return false;
}

static bool take_text(reader *in, text *found)
{
    if (!take_char(in, '"')) {
        return false;
    }
    const char *begin = in->at;
    while (in->at < in->end && *in->at >= ' ' && *in->at <= '~' && *in->at != '"' && *in->at != '\\') {
        in->at++;
    }
    *found = (text){begin, in->at - begin};
    return in->at < in->end && *in->at++ == '"';
}

static bool take_number(reader *in, long long *number)
{
    skip_space(in);
    bool is_negative = in->at < in->end && *in->at == '-';
    in->at += is_negative;
    const char *begin = in->at;
    long long value = 0;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9' && in->at - begin <= MOST_DIGITS) {
        value = value * 10 + (*in->at++ - '0');
    }
    Py_ssize_t digits = in->at - begin;
    *number = is_negative ? -value : value;
    /* A point or an exponent that follows is no end of a member. */
    return digits > 0 && digits <= MOST_DIGITS && (*begin != '0' || (digits == 1 && !is_negative));
}

static bool is_text(const text *found, const char *wanted)
{
    return (size_t)found->size == strlen(wanted) && memcmp(found->at, wanted, (size_t)found->size) == 0;
}

static bool take_params(reader *in)
{
    if (!take_char(in, '[')) {
        return false;
    }
    do {
        if (in->count == MOST_PARAMS || !take_text(in, &in->params[in->count++])) {
            return false;
        }
    } while (take_char(in, ','));
    return in->count >= LEAST_PARAMS && take_char(in, ']');
}

static bool take_member(reader *in)
{
    text key, value;
    if (!take_text(in, &key) || !take_char(in, ':')) {
        return false;
    }
    if (is_text(&key, "id")) {
        bool is_first = !in->has_id;
        in->has_id = true;
        return is_first && take_number(in, &in->id);
    }
    if (is_text(&key, "method")) {
        bool is_first = !in->has_method;
        in->has_method = true;
        return is_first && take_text(in, &value) && is_text(&value, "mining.submit");
    }
    if (is_text(&key, "params")) {
        bool is_first = !in->has_params;
        in->has_params = true;
        return is_first && take_params(in);
    }
    return take_text(in, &value);
}

/* Whether it is an object of a submit's members and perhaps others that are plain text, and nothing else. */
static bool read_line(reader *in)
{
    if (!take_char(in, '{')) {
        return false;
    }
    do {
        if (!take_member(in)) {
            return false;
        }
    } while (take_char(in, ','));
    if (!take_char(in, '}')) {
        return false;
    }
    skip_space(in);
    return in->at == in->end && in->has_id && in->has_method && in->has_params;
}

static int digit_of(char letter)
{
    if (letter >= '0' && letter <= '9') {
        return letter - '0';
    }
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static bool read_hex(const text *digits, uint8_t *bytes)
{
    for (Py_ssize_t i = 0; i < digits->size; i += 2) {
        int high = digit_of(digits->at[i]), low = digit_of(digits->at[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_number(const text *digits, uint32_t *number)
{
    uint8_t bytes[NUMBER_DIGITS / 2];
    if (digits->size != NUMBER_DIGITS || !read_hex(digits, bytes)) {
        return false;
    }
    *number = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

/* What a submit says. */
typedef struct {
    long long id;
    const text *job_id, *user;
    uint8_t extranonce2[MOST_EXTRANONCE2];
    Py_ssize_t size;
    uint32_t ntime, nonce, bits;
} submission;

static bool read_submission(PyObject *line, submission *said, reader *in)
{
    in->at = PyBytes_AS_STRING(line);
    in->end = in->at + PyBytes_GET_SIZE(line);
    if (!read_line(in) || in->params[2].size != 2 * said->size || !read_hex(&in->params[2], said->extranonce2) ||
        !read_number(&in->params[3], &said->ntime) || !read_number(&in->params[4], &said->nonce)) {
        return false;
    }
    said->id = in->id;
    said->user = &in->params[0];
    said->job_id = &in->params[1];
    said->bits = 0;
    return in->count < MOST_PARAMS || in->params[5].size == 0 || read_number(&in->params[5], &said->bits);
}

/* What it is judged by: references that are its own. */
typedef struct {
    PyObject *held[ATTRIBUTES];
    int count;
    bool has_failed;
    PyObject *end, *padding, *prover;
    uint32_t version, rollable, min_ntime;
    uint8_t target[SHA256_SIZE];
} terms;

static void let_go(terms *of)
{
    while (of->count) {
        Py_DECREF(of->held[--of->count]);
    }
}

/* A reference that the terms hold, or NULL with an exception set. */
static PyObject *hold(Finder *self, terms *of, PyObject *object, enum name name)
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

static int read_u32(Finder *self, PyObject *object, enum name name, uint32_t *number)
{
    PyObject *found = get(self, object, name);
    if (found == NULL) {
        return -1;
    }
    int result = kernel_u32(found, texts[name], number);
    Py_DECREF(found);
    return result;
}

static int read_target(PyObject *number, uint8_t target[SHA256_SIZE])
{
    PyObject *packed = PyObject_CallMethod(number, "to_bytes", "is", SHA256_SIZE, "little");
    if (packed == NULL) {
        return -1;
    }
    const uint8_t *content = kernel_bytes(packed, "a target", SHA256_SIZE);
    if (content != NULL) {
        memcpy(target, content, SHA256_SIZE);
    }
    Py_DECREF(packed);
    return content == NULL ? -1 : 0;
}

static int read_terms(Finder *self, PyObject *job, terms *of)
{
    PyObject *work = hold(self, of, job, WORK);
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
    if (of->has_failed || read_u32(self, draft, VERSION, &of->version) < 0 ||
        read_u32(self, draft, ROLLABLE, &of->rollable) < 0 || read_u32(self, tip, MIN_NTIME, &of->min_ntime) < 0 || read_target(target, of->target) < 0) {
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

/* A header and its hash. */
typedef struct {
    uint8_t header[PROVED_SIZE], hash[SHA256_SIZE];
} proof;

/* What miner and upstream need of a good share. */
static PyObject *tell(Finder *self, const submission *said, const terms *by, const proof *of, PyObject *extranonce1,
                      PyObject *job)
{
    PyObject *submit = named(self->submit,
                             (PyObject *[]){PyLong_FromLongLong(said->id), text_of(said->job_id),
                                            PyBytes_FromStringAndSize((const char *)said->extranonce2, said->size),
                                            PyLong_FromUnsignedLong(said->ntime), PyLong_FromUnsignedLong(said->nonce),
                                            PyLong_FromUnsignedLong(said->bits), text_of(said->user)},
                             SUBMIT_FIELDS);
    Py_ssize_t padding = PyBytes_GET_SIZE(by->padding), own = PyBytes_GET_SIZE(extranonce1);
    PyObject *extranonce = PyBytes_FromStringAndSize(NULL, padding + own + said->size);
    if (extranonce != NULL) {
        char *at = PyBytes_AS_STRING(extranonce);
        memcpy(at, PyBytes_AS_STRING(by->padding), (size_t)padding);
        memcpy(at + padding, PyBytes_AS_STRING(extranonce1), (size_t)own);
        memcpy(at + padding + own, said->extranonce2, (size_t)said->size);
    }
    PyObject *share = named(self->share,
                            (PyObject *[]){PyLong_FromUnsignedLong(by->version | said->bits),
                                           PyBytes_FromStringAndSize((const char *)of->hash, SHA256_SIZE), extranonce,
                                           Py_NewRef(Py_True),
                                           PyBytes_FromStringAndSize((const char *)of->header, PROVED_SIZE)},
                            SHARE_FIELDS);
    PyObject *found = submit == NULL || share == NULL ? NULL : PyTuple_Pack(3, submit, share, job);
    Py_XDECREF(submit);
    Py_XDECREF(share);
    return found;
}

/* Whether it is a good share, and the proof of it. */
static bool is_good(const submission *said, const terms *by, PyObject *extranonce1, uint32_t mask, long long now,
                    proof *of)
{
    /* All readings of version bits agree then. */
    if ((by->version & mask) || (said->bits & ~(mask & by->rollable))) {
        return false;
    }
    if (said->ntime < by->min_ntime || said->ntime > now) {
        return false;
    }
    size_t end = (size_t)PyBytes_GET_SIZE(by->end), own = (size_t)PyBytes_GET_SIZE(extranonce1);
    size_t size = (size_t)said->size;
    uint8_t extranonce[MOST_EXTRANONCE];
    if (!prover_check(by->prover) || end > MOST_EXTRANONCE || own > MOST_EXTRANONCE ||
        end + own + size > MOST_EXTRANONCE) {
        return false;
    }
    memcpy(extranonce, PyBytes_AS_STRING(by->end), end);
    memcpy(extranonce + end, PyBytes_AS_STRING(extranonce1), own);
    memcpy(extranonce + end + own, said->extranonce2, size);
    prover_header(by->prover, extranonce, end + own + size, by->version | said->bits, said->ntime, said->nonce, of->header,
                  of->hash);
    for (int i = SHA256_SIZE - 1; i >= 0; i--) {
        if (of->hash[i] != by->target[i]) {
            return of->hash[i] < by->target[i];
        }
    }
    return true;
}

static PyObject *finder_find(Finder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5 || !PyBytes_Check(args[0]) || !PyDict_CheckExact(args[1]) || !PyTuple_CheckExact(args[2]) ||
        PyTuple_GET_SIZE(args[2]) != 2 || !PyBytes_Check(PyTuple_GET_ITEM(args[2], 0))) {
        PyErr_SetString(PyExc_TypeError, "find takes a line, a dictionary of jobs, (extranonce1, size), mask and now");
        return NULL;
    }
    PyObject *extranonce1 = PyTuple_GET_ITEM(args[2], 0);
    uint32_t mask;
    submission said = {.size = PyLong_AsSsize_t(PyTuple_GET_ITEM(args[2], 1))};
    long long now = said.size == -1 && PyErr_Occurred() ? -1 : PyLong_AsLongLong(args[4]);
    if ((now == -1 && PyErr_Occurred()) || kernel_u32(args[3], "mask", &mask) < 0) {
        return NULL;
    }
    reader in = {0};
    if (said.size < 0 || said.size > MOST_EXTRANONCE2 || !read_submission(args[0], &said, &in)) {
        Py_RETURN_NONE;
    }
    PyObject *job_id = text_of(said.job_id);
    PyObject *job = job_id == NULL ? NULL : PyDict_GetItemWithError(args[1], job_id);
    Py_XDECREF(job_id);
    if (job == NULL) {
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    }
    Py_INCREF(job);
    terms by = {0};
    proof of;
    PyObject *found = NULL;
    if (read_terms(self, job, &by) == 0) {
        found = is_good(&said, &by, extranonce1, mask, now, &of) ? tell(self, &said, &by, &of, extranonce1, job)
                                                                 : Py_NewRef(Py_None);
    }
    let_go(&by);
    Py_DECREF(job);
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
