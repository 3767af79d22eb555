/* Signer: the curve work of a mint's requests, all tokens of one in a call and without the interpreter's lock.
 *
 * It does what PythonSigner of protocols/cashu/signer.py does, by the same calls of the same libsecp256k1, whose
 * addresses it is given: every multiplication by a secret is the library's constant-time one. */

#include "kernel.h"

#define SECRET_SIZE 32
#define POINT_SIZE 33
#define WHOLE_SIZE 65
#define COORDINATE_SIZE 32
#define UNCOMPRESSED 2 /* SECP256K1_EC_UNCOMPRESSED */
#define TRIES 256      /* candidates for a nonce, as one byte counts them */

typedef struct {
    uint8_t opaque[64];
} point;

/* secp256k1_ecdh_hash_function */
typedef int take_point(uint8_t *output, const uint8_t *x, const uint8_t *y, void *data);

typedef struct {
    int (*parse)(const void *context, point *key, const uint8_t *bytes, size_t size);
    int (*serialize)(const void *context, uint8_t *bytes, size_t *size, const point *key, unsigned int flags);
    int (*create)(const void *context, point *key, const uint8_t *secret);
    int (*ecdh)(const void *context, uint8_t *output, const point *key, const uint8_t *scalar, take_point *hash,
                void *data);
    int (*verify)(const void *context, const uint8_t *secret);
    int (*multiply)(const void *context, uint8_t *secret, const uint8_t *scalar);
    int (*add)(const void *context, uint8_t *secret, const uint8_t *scalar);
} library;

typedef struct {
    PyObject_HEAD
    const void *context;
    library curve;
} Signer;

typedef enum { DONE, REFUSED, BROKEN } outcome;

typedef struct {
    const uint8_t *private;
    const uint8_t *whole; /* the public point, uncompressed */
    const uint8_t *blinded;
    uint8_t signature[POINT_SIZE], e[SECRET_SIZE], s[SECRET_SIZE];
    outcome outcome;
} signing;

typedef struct {
    const uint8_t *private;
    const uint8_t *secret;
    size_t size;
    const uint8_t *signature;
    uint8_t y[POINT_SIZE];
    outcome outcome;
} checking;

static const uint8_t order[SECRET_SIZE] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
    0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
};

static int take_whole(uint8_t *output, const uint8_t *x, const uint8_t *y, void *data)
{
    (void)data;
    output[0] = 4;
    memcpy(output + 1, x, COORDINATE_SIZE);
    memcpy(output + 1 + COORDINATE_SIZE, y, COORDINATE_SIZE);
    return 1;
}

static void compress(const uint8_t whole[WHOLE_SIZE], uint8_t bytes[POINT_SIZE])
{
    bytes[0] = (uint8_t)(2 | (whole[WHOLE_SIZE - 1] & 1));
    memcpy(bytes + 1, whole + 1, COORDINATE_SIZE);
}

static bool multiply(const Signer *self, const point *key, const uint8_t *scalar, uint8_t whole[WHOLE_SIZE])
{
    return self->curve.ecdh(self->context, whole, key, scalar, take_whole, NULL);
}

static bool serialize(const Signer *self, const point *key, uint8_t whole[WHOLE_SIZE])
{
    size_t size = WHOLE_SIZE;
    return self->curve.serialize(self->context, whole, &size, key, UNCOMPRESSED);
}

/* HMAC-SHA256 (RFC 2104) with a key of 32 bytes. */
static void begin_hmac(sha256 *hash, const uint8_t key[SECRET_SIZE], uint8_t mask)
{
    uint8_t pad[SHA256_BLOCK];
    memset(pad, mask, sizeof pad);
    for (int i = 0; i < SECRET_SIZE; i++) {
        pad[i] ^= key[i];
    }
    sha256_begin(hash, kernel_sha256);
    sha256_take(hash, pad, sizeof pad);
    wipe(pad, sizeof pad);
}

/* The nonce of a DLEQ proof (NUT-12), from the uncompressed points K, B_ and C_. */
static bool find_nonce(const Signer *self, const uint8_t *private, const uint8_t points[3 * WHOLE_SIZE],
                       uint8_t nonce[SECRET_SIZE])
{
    static const char domain[] = "Cashu_DLEQ_R_v1";
    sha256 inner, outer, hash;
    bool found = false;
    begin_hmac(&inner, private, 0x36);
    begin_hmac(&outer, private, 0x5c);
    sha256_take(&inner, (const uint8_t *)domain, sizeof domain - 1);
    sha256_take(&inner, points, 3 * WHOLE_SIZE);
    for (unsigned int counter = 0; !found && counter < TRIES; counter++) {
        uint8_t last = (uint8_t)counter;
        hash = inner;
        sha256_take(&hash, &last, 1);
        sha256_end(&hash, nonce);
        hash = outer;
        sha256_take(&hash, nonce, SHA256_SIZE);
        sha256_end(&hash, nonce);
        found = self->curve.verify(self->context, nonce);
    }
    wipe(&inner, sizeof inner);
    wipe(&outer, sizeof outer);
    wipe(&hash, sizeof hash);
    return found;
}

static void hash_hex(const uint8_t *bytes, size_t size, uint8_t digest[SHA256_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t text[2 * WHOLE_SIZE];
    sha256 hash;
    sha256_begin(&hash, kernel_sha256);
    for (size_t at = 0; at < size; at += WHOLE_SIZE) {
        for (size_t i = 0; i < WHOLE_SIZE; i++) {
            text[2 * i] = (uint8_t)digits[bytes[at + i] >> 4];
            text[2 * i + 1] = (uint8_t)digits[bytes[at + i] & 15];
        }
        sha256_take(&hash, text, sizeof text);
    }
    sha256_end(&hash, digest);
}

/* e modulo the order; e is public, and below twice the order. */
static void reduce(const uint8_t e[SECRET_SIZE], uint8_t reduced[SECRET_SIZE])
{
    memcpy(reduced, e, SECRET_SIZE);
    if (memcmp(e, order, SECRET_SIZE) >= 0) {
        int borrow = 0;
        for (int i = SECRET_SIZE - 1; i >= 0; i--) {
            int difference = e[i] - order[i] - borrow;
            borrow = difference < 0;
            reduced[i] = (uint8_t)(difference + 256 * borrow);
        }
    }
}

static void sign_one(const Signer *self, signing *job)
{
    const library *curve = &self->curve;
    point blinded, public;
    uint8_t points[3 * WHOLE_SIZE];   /* K, B_, C_ */
    uint8_t answers[4 * WHOLE_SIZE];  /* R1, R2, K, C_ */
    uint8_t nonce[SECRET_SIZE], challenge[SECRET_SIZE];
    job->outcome = REFUSED;
    if (!curve->parse(self->context, &blinded, job->blinded, POINT_SIZE)) {
        return;
    }
    job->outcome = BROKEN;
    memcpy(points, job->whole, WHOLE_SIZE);
    if (serialize(self, &blinded, points + WHOLE_SIZE) &&
        multiply(self, &blinded, job->private, points + 2 * WHOLE_SIZE) &&
        find_nonce(self, job->private, points, nonce) && curve->create(self->context, &public, nonce) &&
        serialize(self, &public, answers) && multiply(self, &blinded, nonce, answers + WHOLE_SIZE)) {
        memcpy(answers + 2 * WHOLE_SIZE, points, WHOLE_SIZE);
        memcpy(answers + 3 * WHOLE_SIZE, points + 2 * WHOLE_SIZE, WHOLE_SIZE);
        compress(points + 2 * WHOLE_SIZE, job->signature);
        hash_hex(answers, sizeof answers, job->e);
        reduce(job->e, challenge);
        memcpy(job->s, job->private, SECRET_SIZE);
        if (curve->multiply(self->context, job->s, challenge) && curve->add(self->context, job->s, nonce)) {
            job->outcome = DONE;
        }
    }
    wipe(nonce, sizeof nonce);
    if (job->outcome != DONE) {
        wipe(job->s, sizeof job->s);
    }
}

/* hash_to_curve (NUT-00); every second candidate is a point. */
static void find_point(const Signer *self, const checking *job, point *key, uint8_t y[POINT_SIZE])
{
    static const char domain[] = "Secp256k1_HashToCurve_Cashu_";
    uint8_t text[SHA256_SIZE + 4];
    sha256 hash;
    sha256_begin(&hash, kernel_sha256);
    sha256_take(&hash, (const uint8_t *)domain, sizeof domain - 1);
    sha256_take(&hash, job->secret, job->size);
    sha256_end(&hash, text);
    y[0] = 2;
    for (uint32_t counter = 0;; counter++) {
        store32(text + SHA256_SIZE, counter);
        sha256_begin(&hash, kernel_sha256);
        sha256_take(&hash, text, sizeof text);
        sha256_end(&hash, y + 1);
        if (self->curve.parse(self->context, key, y, POINT_SIZE)) {
            return;
        }
    }
}

static void check_one(const Signer *self, checking *job)
{
    point key;
    uint8_t whole[WHOLE_SIZE], expected[POINT_SIZE];
    find_point(self, job, &key, job->y);
    job->outcome = BROKEN;
    if (multiply(self, &key, job->private, whole)) {
        uint8_t difference = 0;
        compress(whole, expected);
        for (int i = 0; i < POINT_SIZE; i++) {
            difference |= (uint8_t)(expected[i] ^ job->signature[i]);
        }
        job->outcome = difference ? REFUSED : DONE;
    }
    wipe(whole, sizeof whole);
    wipe(expected, sizeof expected);
}

/* The items of a job, which is a tuple of three. */
static PyObject *const *three(PyObject *job)
{
    if (!PyTuple_Check(job) || PyTuple_GET_SIZE(job) != 3) {
        PyErr_SetString(PyExc_TypeError, "a job is a tuple of three");
        return NULL;
    }
    return &PyTuple_GET_ITEM(job, 0);
}

static PyObject *broken(void)
{
    /* A secret out of range, or a challenge that is zero: nothing that a request can bring about. */
    PyErr_SetString(PyExc_ValueError, "the mint's key cannot sign");
    return NULL;
}

static PyObject *answer_signing(const signing *job)
{
    if (job->outcome == BROKEN) {
        return broken();
    }
    if (job->outcome == REFUSED) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(y#y#y#)", job->signature, (Py_ssize_t)POINT_SIZE, job->e, (Py_ssize_t)SECRET_SIZE, job->s,
                         (Py_ssize_t)SECRET_SIZE);
}

static PyObject *answer_checking(const checking *job)
{
    if (job->outcome == BROKEN) {
        return broken();
    }
    if (job->outcome == REFUSED) {
        Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize((const char *)job->y, POINT_SIZE);
}

static int read_signing(PyObject *item, signing *job)
{
    PyObject *const *fields = three(item);
    return fields && (job->private = kernel_bytes(fields[0], "the private key", SECRET_SIZE)) &&
                   (job->whole = kernel_bytes(fields[1], "the public key", WHOLE_SIZE)) &&
                   (job->blinded = kernel_bytes(fields[2], "B_", POINT_SIZE))
               ? 0
               : -1;
}

static int read_checking(PyObject *item, checking *job)
{
    PyObject *const *fields = three(item);
    if (fields && (job->private = kernel_bytes(fields[0], "the private key", SECRET_SIZE)) &&
        (job->secret = kernel_bytes(fields[1], "the secret", -1)) &&
        (job->signature = kernel_bytes(fields[2], "C", POINT_SIZE))) {
        job->size = (size_t)PyBytes_GET_SIZE(fields[1]);
        return 0;
    }
    return -1;
}

/* The tuple of jobs keeps all bytes alive while the lock is given up. */
static PyObject *signer_sign(Signer *self, PyObject *sequence)
{
    PyObject *items = PySequence_Tuple(sequence), *answers = NULL;
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    signing *jobs = PyMem_Calloc(count ? (size_t)count : 1, sizeof *jobs);
    if (jobs == NULL) {
        Py_DECREF(items);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read_signing(PyTuple_GET_ITEM(items, i), &jobs[i]) < 0) {
            goto end;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        sign_one(self, &jobs[i]);
    }
    Py_END_ALLOW_THREADS
    answers = PyList_New(count);
    for (Py_ssize_t i = 0; answers != NULL && i < count; i++) {
        PyObject *answer = answer_signing(&jobs[i]);
        if (answer == NULL) {
            Py_CLEAR(answers);
        } else {
            PyList_SET_ITEM(answers, i, answer);
        }
    }
end:
    PyMem_Free(jobs);
    Py_DECREF(items);
    return answers;
}

static PyObject *signer_verify(Signer *self, PyObject *sequence)
{
    PyObject *items = PySequence_Tuple(sequence), *answers = NULL;
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    checking *jobs = PyMem_Calloc(count ? (size_t)count : 1, sizeof *jobs);
    if (jobs == NULL) {
        Py_DECREF(items);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read_checking(PyTuple_GET_ITEM(items, i), &jobs[i]) < 0) {
            goto end;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        check_one(self, &jobs[i]);
    }
    Py_END_ALLOW_THREADS
    answers = PyList_New(count);
    for (Py_ssize_t i = 0; answers != NULL && i < count; i++) {
        PyObject *answer = answer_checking(&jobs[i]);
        if (answer == NULL) {
            Py_CLEAR(answers);
        } else {
            PyList_SET_ITEM(answers, i, answer);
        }
    }
end:
    PyMem_Free(jobs);
    Py_DECREF(items);
    return answers;
}

static PyObject *signer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"addresses", NULL};
    unsigned long long at[8];
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "(KKKKKKKK):Signer", names, &at[0], &at[1], &at[2], &at[3], &at[4],
                                     &at[5], &at[6], &at[7])) {
        return NULL;
    }
    Signer *self = (Signer *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    _Static_assert(sizeof(void (*)(void)) == sizeof at[0] && sizeof self->curve == 7 * sizeof at[0],
                   "an address is 64 bits");
    self->context = (const void *)(uintptr_t)at[0];
    memcpy(&self->curve, &at[1], sizeof self->curve);
    return (PyObject *)self;
}

static void signer_dealloc(Signer *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef signer_methods[] = {
    {"sign", (PyCFunction)signer_sign, METH_O,
     "sign([(private key, whole public key, B_)]) -> [(C_, e, s), or None where B_ is no point]"},
    {"verify", (PyCFunction)signer_verify, METH_O,
     "verify([(private key, secret, C)]) -> [Y, or None where C is no signature of it]"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot signer_slots[] = {
    {Py_tp_doc, "Signer(addresses): a mint's curve work, by a libsecp256k1 at these addresses."},
    {Py_tp_new, (void *)signer_new},
    {Py_tp_dealloc, (void *)signer_dealloc},
    {Py_tp_methods, signer_methods},
    {0, NULL},
};

PyType_Spec signer_spec = {
    .name = "hashpool_kernel.Signer",
    .basicsize = sizeof(Signer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = signer_slots,
};
