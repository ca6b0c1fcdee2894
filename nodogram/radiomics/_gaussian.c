/* Recursive filter along one axis of a volume; gaussian.py is the Python face and says where the coefficients come from.
 *
 * Lines are filtered side by side in double precision, each in the order of operations of ITK's
 * RecursiveSeparableImageFilter: the sum of a pass forward and a pass backward, rounded to single precision at the end. Every
 * product and sum is rounded by itself, so the compiler must not contract them; then vectors of any width give the same bits.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>

/* A copy of the function for each width of vectors, chosen when the program is loaded. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORIZED
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline)) /* into each of the copies, with its constants */
#else
#define INLINE static inline
#endif

/* Enough lanes to hide how long one result waits for the one before. */
enum { AXES = 3, ORDER = 4, LANES = 32, TILE = 16 };

typedef double Lanes[LANES]; /* a sample of each line */

typedef struct {
    double causal[ORDER];            /* of a sample and the three before it */
    double feedback[ORDER];          /* of the four results before, or after */
    double anticausal[ORDER];        /* of the four samples after */
    double causal_border[ORDER];     /* feedback of what the first sample, repeated for ever, has as results before it */
    double anticausal_border[ORDER]; /* of what the last one has after it */
} Recursion;

/* A result of the pass backward is written where no step still reads, BACK places after its own. The outermost samples are
 * repeated into the borders of both arrays, where the first steps of a pass find them. */
enum { BACK = ORDER + 1, BEFORE = ORDER, AFTER = BACK + ORDER };

typedef struct {
    Py_ssize_t count, first, last; /* samples of a line, and the range of those wanted */
    Lanes *samples;                /* from -BEFORE to count + AFTER; BACK places on, the results backward */
    Lanes *results;                /* forward, from -BEFORE to last */
} Lines;

/* One result of each line from four samples x and four results y, each the next of the one before. */
INLINE void step(const Lanes *x, const Lanes *y, int next, const double *weights, const double *feedback,
                 double *restrict result)
{
    const double w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
    const double f0 = feedback[0], f1 = feedback[1], f2 = feedback[2], f3 = feedback[3];
    for (int l = 0; l < LANES; l++)
        result[l] = x[0][l] * w0 + x[next][l] * w1 + x[2 * next][l] * w2 + x[3 * next][l] * w3 -
                    (y[0][l] * f0 + y[next][l] * f1 + y[2 * next][l] * f2 + y[3 * next][l] * f3);
}

static void mix(const double *feedback, const double *border, Py_ssize_t done, double *mixed) /* when so many results exist */
{
    for (int k = 0; k < ORDER; k++)
        mixed[k] = k < done ? feedback[k] : border[k];
}

static void repeat(const double *sample, Lanes *begin, Lanes *end)
{
    for (Lanes *target = begin; target < end; target++)
        for (int l = 0; l < LANES; l++)
            (*target)[l] = sample[l];
}

VECTORIZED static void filter_forward(const Recursion *r, const Lines *lines)
{
    const Lanes *const x = (const Lanes *)lines->samples;
    Lanes *const y = lines->results;
    double mixed[ORDER];
    repeat(x[0], lines->samples - BEFORE, lines->samples);
    repeat(x[0], y - BEFORE, y);
    for (Py_ssize_t i = 0; i < Py_MIN(ORDER, lines->last); i++) {
        mix(r->feedback, r->causal_border, i, mixed);
        step(x + i, (const Lanes *)y + i - 1, -1, r->causal, mixed, y[i]);
    }
    for (Py_ssize_t i = ORDER; i < lines->last; i++)
        step(x + i, (const Lanes *)y + i - 1, -1, r->causal, r->feedback, y[i]);
}

VECTORIZED static void filter_backward(const Recursion *r, const Lines *lines)
{
    Lanes *const x = lines->samples;
    const Lanes *const next = (const Lanes *)x + 1;
    const Py_ssize_t end = lines->count - 1;
    double mixed[ORDER];
    repeat(x[end], x + end + 1, x + end + 1 + AFTER);
    for (Py_ssize_t i = end; i >= Py_MAX(end + 1 - ORDER, lines->first); i--) {
        mix(r->feedback, r->anticausal_border, end - i, mixed);
        step(next + i, next + i + BACK, 1, r->anticausal, mixed, x[i + BACK]);
    }
    for (Py_ssize_t i = end - ORDER; i >= lines->first; i--)
        step(next + i, next + i + BACK, 1, r->anticausal, r->feedback, x[i + BACK]);
}

typedef struct {
    Py_buffer source, target;
    int along, across, rows; /* axis filtered, axis of the lanes, the remaining axis */
} Volume;

INLINE double value(const char *from, char type)
{
    if (type == 'f')
        return *(const float *)from;
    return type == 'h' ? *(const int16_t *)from : *(const int32_t *)from;
}

/* Lanes that are neighbors in memory are read sample by sample; others square by square, so that nothing is fetched twice. */
INLINE void read_as(Lanes *x, Py_ssize_t count, const char *from, Py_ssize_t along, Py_ssize_t across, int width, char type,
                    int size)
{
    if (across == size && width == LANES) {
        for (Py_ssize_t i = 0; i < count; i++)
            for (int l = 0; l < LANES; l++)
                x[i][l] = value(from + i * along + l * size, type);
        return;
    }
    for (Py_ssize_t tile = 0; tile < count; tile += TILE)
        for (int l = 0; l < width; l++)
            for (Py_ssize_t i = tile; i < Py_MIN(tile + TILE, count); i++)
                x[i][l] = value(from + i * along + l * across, type);
}

VECTORIZED static void read_samples(Lanes *x, Py_ssize_t count, const char *from, Py_ssize_t along, Py_ssize_t across,
                                    int width, char type)
{
    switch (type) {
    case 'f': read_as(x, count, from, along, across, width, 'f', 4); break;
    case 'h': read_as(x, count, from, along, across, width, 'h', 2); break;
    default: read_as(x, count, from, along, across, width, 'i', 4); break;
    }
}

VECTORIZED static void write_sums(const Lines *lines, char *to, Py_ssize_t along, Py_ssize_t across, int width)
{
    const Lanes *const x = (const Lanes *)lines->samples + BACK, *const y = (const Lanes *)lines->results;
    const Py_ssize_t first = lines->first, last = lines->last;
    if (across == sizeof(float) && width == LANES) {
        for (Py_ssize_t i = first; i < last; i++)
            for (int l = 0; l < LANES; l++)
                ((float *)(to + (i - first) * along))[l] = (float)(y[i][l] + x[i][l]);
        return;
    }
    for (Py_ssize_t tile = first; tile < last; tile += TILE)
        for (int l = 0; l < width; l++)
            for (Py_ssize_t i = tile; i < Py_MIN(tile + TILE, last); i++)
                *(float *)(to + (i - first) * along + l * across) = (float)(y[i][l] + x[i][l]);
}

static int filter_volume(const Recursion *r, const Volume *volume, Py_ssize_t first, Py_ssize_t last)
{
    const int along = volume->along, across = volume->across, rows = volume->rows;
    const Py_ssize_t *const in = volume->source.strides, *const out = volume->target.strides;
    const Py_ssize_t *const size = volume->source.shape;
    /* Zeros, because lanes without a line are filtered as well. */
    void *const memory = calloc((size_t)(1 + BEFORE + size[along] + AFTER + BEFORE + last), sizeof(Lanes));
    if (!memory)
        return 0;
    Lanes *const samples = (Lanes *)(((uintptr_t)memory / sizeof(Lanes) + 1) * sizeof(Lanes)) + BEFORE; /* aligned */
    const Lines lines = {size[along], first, last, samples, samples + size[along] + AFTER + BEFORE};
    for (Py_ssize_t row = 0; row < size[rows]; row++)
        for (Py_ssize_t lane = 0; lane < size[across]; lane += LANES) {
            /* The last lines are filled up with some already filtered, if there are enough. */
            const Py_ssize_t start = Py_MAX(Py_MIN(lane, size[across] - LANES), 0);
            const int width = (int)Py_MIN(LANES, size[across]);
            const char *from = (const char *)volume->source.buf + row * in[rows] + start * in[across];
            char *to = (char *)volume->target.buf + row * out[rows] + start * out[across];
            read_samples(lines.samples, lines.count, from, in[along], in[across], width, *volume->source.format);
            filter_forward(r, &lines);
            filter_backward(r, &lines);
            write_sums(&lines, to, out[along], out[across], width);
        }
    free(memory);
    return 1;
}

static int is_sound(const Volume *volume, Py_ssize_t first, Py_ssize_t last)
{
    const Py_buffer *const source = &volume->source, *const target = &volume->target;
    const char type = source->format[1] ? 0 : *source->format;
    if (volume->along < 0 || volume->along >= AXES || source->ndim != AXES || target->ndim != AXES ||
        !(type == 'f' || (type == 'h' && source->itemsize == 2) || (type == 'i' && source->itemsize == 4)) ||
        *target->format != 'f' || target->format[1])
        return 0;
    for (int axis = 0; axis < AXES; axis++)
        if (target->shape[axis] != (axis == volume->along ? last - first : source->shape[axis]))
            return 0;
    return first >= 0 && first < last && last <= source->shape[volume->along] && source->shape[volume->along] >= ORDER;
}

static PyObject *filter_axis(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *source, *target;
    Volume volume = {0};
    Recursion r;
    Py_ssize_t first, last;
    if (!PyArg_ParseTuple(args, "O((dddd)(dddd)(dddd)(dddd)(dddd))innO", &source, &r.causal[0], &r.causal[1], &r.causal[2],
                          &r.causal[3], &r.feedback[0], &r.feedback[1], &r.feedback[2], &r.feedback[3], &r.anticausal[0],
                          &r.anticausal[1], &r.anticausal[2], &r.anticausal[3], &r.causal_border[0], &r.causal_border[1],
                          &r.causal_border[2], &r.causal_border[3], &r.anticausal_border[0], &r.anticausal_border[1],
                          &r.anticausal_border[2], &r.anticausal_border[3], &volume.along, &first, &last, &target) ||
        PyObject_GetBuffer(source, &volume.source, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return NULL;
    if (PyObject_GetBuffer(target, &volume.target, PyBUF_FORMAT | PyBUF_STRIDES | PyBUF_WRITABLE) < 0) {
        PyBuffer_Release(&volume.source);
        return NULL;
    }
    const int sound = is_sound(&volume, first, last);
    int done = 0;
    if (sound) {
        const Py_ssize_t *const size = volume.source.shape;
        volume.across = volume.along < 2 ? 2 : size[1] >= size[0];
        volume.rows = AXES - volume.along - volume.across;
        Py_BEGIN_ALLOW_THREADS
        done = filter_volume(&r, &volume, first, last);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&volume.target);
    PyBuffer_Release(&volume.source);
    if (!sound) {
        PyErr_SetString(PyExc_ValueError, "float32, int16 or int32 of three axes, four samples along the filtered one, and "
                                          "float32 of the shape of the samples wanted are required");
        return NULL;
    }
    if (!done)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"filter_axis", filter_axis, METH_VARARGS,
     "filter_axis(source, recursion, axis, first, last, target): filter along an axis, keep the samples from first to last."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_gaussian",
    .m_doc = "Recursive filter of ITK's Gaussian; see nodogram.radiomics.gaussian.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__gaussian(void)
{
    return PyModuleDef_Init(&definition);
}
