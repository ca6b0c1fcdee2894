/* Recursive Gaussian along one axis of a volume; gaussian.py is the Python face and says where the coefficients come from.
 *
 * Lines run through the filter side by side, as lanes of vectors, each in the order of operations of ITK's
 * RecursiveSeparableImageFilter: double precision, a causal and an anticausal pass, their sum rounded to single precision.
 * Samples nobody asked for are filtered only as far as the recursion needs them.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

/* Wider vectors where the processor has them; without contraction all variants give the same bits. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define VECTORIZED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORIZED
#endif

enum { AXES = 3, ORDER = 4, LANES = 16 };

typedef struct {
    double causal[ORDER];            /* weights of this sample and the three before */
    double feedback[ORDER];          /* of the four results before, or after */
    double anticausal[ORDER];        /* of the four samples after */
    double causal_border[ORDER];     /* of the first sample, for results before it */
    double anticausal_border[ORDER]; /* of the last sample, for results after it */
} Recursion;

typedef double Lanes[LANES];

typedef struct {
    Py_ssize_t count, first, last; /* samples of a line, and those wanted */
    Lanes *samples, *results;
} Lines;

/* One result of every lane from four samples and four results; near the border the outermost sample stands for both. */
static inline __attribute__((always_inline)) void step(const double *const *samples, const double *weights,
                                                       const double *const *results, const double *feedback,
                                                       double *restrict result)
{
    const double *const x0 = samples[0], *const x1 = samples[1], *const x2 = samples[2], *const x3 = samples[3];
    const double *const y0 = results[0], *const y1 = results[1], *const y2 = results[2], *const y3 = results[3];
    const double w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
    const double f0 = feedback[0], f1 = feedback[1], f2 = feedback[2], f3 = feedback[3];
    for (int l = 0; l < LANES; l++)
        result[l] = x0[l] * w0 + x1[l] * w1 + x2[l] * w2 + x3[l] * w3 - (y0[l] * f0 + y1[l] * f1 + y2[l] * f2 + y3[l] * f3);
}

static void step_at_border(const double *const *samples, const double *weights, const Lanes *results, Py_ssize_t stride,
                           int known, const double *outermost, const double *feedback, const double *border, double *result)
{
    const double *terms[ORDER];
    double mixed[ORDER];
    for (int k = 0; k < ORDER; k++) {
        terms[k] = k < known ? results[k * stride] : outermost;
        mixed[k] = k < known ? feedback[k] : border[k];
    }
    step(samples, weights, terms, mixed, result);
}

VECTORIZED static void pass_forward(const Recursion *r, const Lines *lines)
{
    const Lanes *const x = (const Lanes *)lines->samples;
    Lanes *const y = lines->results;
    for (int i = 0; i < ORDER; i++) {
        const double *const samples[ORDER] = {x[i], x[Py_MAX(i - 1, 0)], x[Py_MAX(i - 2, 0)], x[Py_MAX(i - 3, 0)]};
        step_at_border(samples, r->causal, (const Lanes *)(y + i - 1), -1, i, x[0], r->feedback, r->causal_border, y[i]);
    }
    for (Py_ssize_t i = ORDER; i < lines->last; i++) {
        const double *const samples[ORDER] = {x[i], x[i - 1], x[i - 2], x[i - 3]};
        const double *const results[ORDER] = {y[i - 1], y[i - 2], y[i - 3], y[i - 4]};
        step(samples, r->causal, results, r->feedback, y[i]);
    }
}

/* A result replaces the sample four places on, which no later step reads; those wanted are added to the forward ones. */
VECTORIZED static void pass_backward(const Recursion *r, const Lines *lines)
{
    Lanes *const x = lines->samples;
    Lanes *const y = lines->results;
    const Py_ssize_t end = lines->count - 1;
    Lanes outermost;
    memcpy(outermost, x[end], sizeof outermost);
    for (Py_ssize_t i = end; i >= lines->first; i--) {
        Lanes result;
        if (i > end - ORDER) {
            const double *const samples[ORDER] = {
                i + 1 <= end ? x[i + 1] : outermost,
                i + 2 <= end ? x[i + 2] : outermost,
                i + 3 <= end ? x[i + 3] : outermost,
                outermost,
            };
            step_at_border(samples, r->anticausal, (const Lanes *)(x + i + 1 + ORDER), 1, (int)(end - i), outermost, r->feedback,
                           r->anticausal_border, result);
        } else {
            const double *const samples[ORDER] = {x[i + 1], x[i + 2], x[i + 3], x[i + 4]};
            const double *const results[ORDER] = {x[i + 5], x[i + 6], x[i + 7], x[i + 8]};
            step(samples, r->anticausal, results, r->feedback, result);
        }
        memcpy(x[i + ORDER], result, sizeof result);
        if (i < lines->last)
            for (int l = 0; l < LANES; l++)
                y[i][l] += result[l];
    }
}

typedef struct {
    Py_buffer source, target;
    int along, across, rows; /* axis filtered, axis of the lanes, the remaining axis */
} Volume;

static void filter_block(const Recursion *r, const Volume *volume, const Lines *lines, Py_ssize_t row, Py_ssize_t lane, int width)
{
    const Py_ssize_t *const in = volume->source.strides, *const out = volume->target.strides;
    const char *const from = (const char *)volume->source.buf + row * in[volume->rows] + lane * in[volume->across];
    char *const to = (char *)volume->target.buf + row * out[volume->rows] + lane * out[volume->across];
    for (Py_ssize_t i = 0; i < lines->count; i++)
        for (int l = 0; l < LANES; l++)
            lines->samples[i][l] = l < width ? *(const float *)(from + i * in[volume->along] + l * in[volume->across]) : 0;
    pass_forward(r, lines);
    pass_backward(r, lines);
    for (Py_ssize_t i = lines->first; i < lines->last; i++)
        for (int l = 0; l < width; l++)
            *(float *)(to + (i - lines->first) * out[volume->along] + l * out[volume->across]) = (float)lines->results[i][l];
}

static int filter_volume(const Recursion *r, const Volume *volume, Py_ssize_t first, Py_ssize_t last)
{
    const Py_ssize_t *const size = volume->source.shape;
    Lines lines = {size[volume->along], first, last, NULL, NULL};
    lines.samples = malloc((size_t)(lines.count + ORDER) * sizeof *lines.samples);
    lines.results = malloc((size_t)Py_MAX(last, ORDER) * sizeof *lines.results);
    const int done = lines.samples && lines.results;
    for (Py_ssize_t row = 0; done && row < size[volume->rows]; row++)
        for (Py_ssize_t lane = 0; lane < size[volume->across]; lane += LANES)
            filter_block(r, volume, &lines, row, lane, (int)Py_MIN(LANES, size[volume->across] - lane));
    free(lines.results);
    free(lines.samples);
    return done;
}

static int is_sound(const Volume *volume, const Py_buffer *weights, Py_ssize_t first, Py_ssize_t last)
{
    const Py_buffer *const source = &volume->source, *const target = &volume->target;
    int sound = source->ndim == AXES && target->ndim == AXES && source->itemsize == sizeof(float) &&
                target->itemsize == sizeof(float) && weights->len == (Py_ssize_t)sizeof(Recursion);
    for (int axis = 0; sound && axis < AXES; axis++)
        sound = target->shape[axis] == (axis == volume->along ? last - first : source->shape[axis]);
    return sound && first >= 0 && first < last && last <= source->shape[volume->along] && source->shape[volume->along] >= ORDER;
}

static PyObject *run(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *source, *target;
    Py_buffer weights;
    Volume volume = {0};
    Py_ssize_t first, last;
    if (!PyArg_ParseTuple(args, "Oiy*nnO", &source, &volume.along, &weights, &first, &last, &target))
        return NULL;
    PyObject *answer = NULL;
    if (PyObject_GetBuffer(source, &volume.source, PyBUF_STRIDES) < 0)
        goto no_source;
    if (PyObject_GetBuffer(target, &volume.target, PyBUF_STRIDES | PyBUF_WRITABLE) < 0)
        goto no_target;
    if (volume.along < 0 || volume.along >= AXES || !is_sound(&volume, &weights, first, last)) {
        PyErr_SetString(PyExc_ValueError, "three axes, four samples along the filtered one, and a target of the samples wanted");
        goto done;
    }
    /* Neighbors in memory run side by side; along x itself that are rows. */
    volume.across = volume.along == 2 ? 1 : 2;
    volume.rows = AXES - volume.along - volume.across;
    Recursion recursion;
    memcpy(&recursion, weights.buf, sizeof recursion);
    int enough;
    Py_BEGIN_ALLOW_THREADS
    enough = filter_volume(&recursion, &volume, first, last);
    Py_END_ALLOW_THREADS
    answer = enough ? Py_NewRef(Py_None) : PyErr_NoMemory();
done:
    PyBuffer_Release(&volume.target);
no_target:
    PyBuffer_Release(&volume.source);
no_source:
    PyBuffer_Release(&weights);
    return answer;
}

static PyMethodDef methods[] = {
    {"run", run, METH_VARARGS, "run(source, axis, weights, first, last, target): filter lines, keep some samples."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_gaussian",
    .m_doc = "Recursive Gaussian; see nodogram.radiomics.gaussian.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__gaussian(void)
{
    return PyModuleDef_Init(&definition);
}
