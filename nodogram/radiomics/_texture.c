/* Texture matrices of a discretized three-dimensional region; texture.py is the Python face and says what each holds.
 *
 * The region is copied into an array of 16-bit gray levels with one voxel of zeros around it, zero meaning outside. No
 * neighbor then needs a bounds check, and whatever the caller's array does meanwhile, all levels are in range. The copy
 * and all counting run without the interpreter lock.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if SIZE_MAX < UINT64_MAX
#error "sizes are computed for a 64-bit machine"
#endif

enum { AXES = 3, DIRECTIONS = 13, DEPENDENCE_COLUMNS = 4 * DIRECTIONS + 1, TONE_COLUMNS = 3 };

/* One of each pair of opposite neighbors, as (z, y, x); each points forward in memory. The order is PyRadiomics'. */
static const int STEPS[DIRECTIONS][AXES] = {
    {1, 1, 1}, {1, 1, 0}, {1, 1, -1}, {1, 0, 1}, {1, 0, 0}, {1, 0, -1}, {1, -1, 1},
    {1, -1, 0}, {1, -1, -1}, {0, 1, 1}, {0, 1, 0}, {0, 1, -1}, {0, 0, 1},
};

typedef enum { DONE, NO_MEMORY, OUT_OF_RANGE } Status;

typedef struct {
    Py_ssize_t size[AXES];
    Py_ssize_t row, plane; /* distance in memory of neighbors along y and z */
    Py_ssize_t level_count;
    uint16_t *padded;
} Region;

typedef struct {
    Py_ssize_t begin, end;
} Range;

static Py_ssize_t in_plane(const Region *region, const int *step)
{
    return step[1] * region->row + step[2];
}

static Py_ssize_t offset(const Region *region, const int *step)
{
    return step[0] * region->plane + in_plane(region, step);
}

static uint16_t *row_of(const Region *region, Py_ssize_t z, Py_ssize_t y)
{
    return region->padded + (z + 1) * region->plane + (y + 1) * region->row + 1;
}

static Range inside(const uint16_t *row, Py_ssize_t size) /* a row without its ends outside the region */
{
    Range range = {0, size};
    while (range.begin < range.end && !row[range.begin])
        range.begin++;
    while (range.begin < range.end && !row[range.end - 1])
        range.end--;
    return range;
}

static Py_ssize_t longest_axis(const Region *region)
{
    return Py_MAX(region->size[0], Py_MAX(region->size[1], region->size[2]));
}

/* A negative number becomes a huge one and is refused with it. memcpy, because the array need not be aligned. */
#define COPY_ROW(type)                                                   \
    for (Py_ssize_t x = 0; x < size; x++) {                              \
        type value;                                                      \
        memcpy(&value, source + (size_t)x * sizeof(type), sizeof(type)); \
        refused |= (uint64_t)value > limit;                              \
        target[x] = (uint16_t)value;                                     \
    }

static int copy_row(uint16_t *restrict target, const char *restrict source, Py_ssize_t size, char type, uint64_t limit)
{
    int refused = 0;
    switch (type) {
    case 'b': COPY_ROW(signed char) break;
    case 'B': COPY_ROW(unsigned char) break;
    case 'h': COPY_ROW(short) break;
    case 'H': COPY_ROW(unsigned short) break;
    case 'i': COPY_ROW(int) break;
    case 'I': COPY_ROW(unsigned int) break;
    case 'l': COPY_ROW(long) break;
    case 'L': COPY_ROW(unsigned long) break;
    case 'q': COPY_ROW(long long) break;
    default: COPY_ROW(unsigned long long) break;
    }
    return refused;
}

static Status pad(Region *region, const Py_buffer *levels)
{
    const Py_ssize_t *size = region->size;
    region->padded = calloc((size_t)((size[0] + 2) * region->plane), sizeof *region->padded);
    if (!region->padded)
        return NO_MEMORY;
    const char *source = levels->buf;
    for (Py_ssize_t z = 0; z < size[0]; z++)
        for (Py_ssize_t y = 0; y < size[1]; y++, source += size[2] * levels->itemsize)
            if (copy_row(row_of(region, z, y), source, size[2], *levels->format, (uint64_t)region->level_count))
                return OUT_OF_RANGE;
    return DONE;
}

static void count_pairs(const Region *region, const uint16_t *row, const Py_ssize_t *offsets, uint32_t *counts)
{
    const Range range = inside(row, region->size[2]);
    for (Py_ssize_t x = range.begin; x < range.end; x++) {
        if (!row[x])
            continue;
        uint32_t *cells = counts + (row[x] - 1) * (region->level_count + 1) * DIRECTIONS;
        for (int d = 0; d < DIRECTIONS; d++)
            cells[row[x + offsets[d]] * DIRECTIONS + d]++;
    }
}

/* Co-occurrence: how often level i has level j as its neighbor in each direction. */
static Status fill_glcm(const Region *region, double *matrix)
{
    const Py_ssize_t rows = region->level_count, columns = rows * DIRECTIONS;
    /* Integers with a column for neighbors outside, which is cheaper than to ask whether they are. */
    uint32_t *counts = calloc((size_t)(rows * (rows + 1)), DIRECTIONS * sizeof *counts);
    if (!counts)
        return NO_MEMORY;
    Py_ssize_t offsets[DIRECTIONS];
    for (int d = 0; d < DIRECTIONS; d++)
        offsets[d] = offset(region, STEPS[d]);
    for (Py_ssize_t z = 0; z < region->size[0]; z++)
        for (Py_ssize_t y = 0; y < region->size[1]; y++)
            count_pairs(region, row_of(region, z, y), offsets, counts);
    for (Py_ssize_t i = 0; i < rows; i++)
        for (Py_ssize_t j = 0; j < columns; j++)
            matrix[i * columns + j] = counts[i * (columns + DIRECTIONS) + DIRECTIONS + j];
    free(counts);
    return DONE;
}

/* Whether any line in this direction has two voxels of the region, adjacent or not. */
static int has_aligned_voxels(const Region *region, const int *step)
{
    const Py_ssize_t *size = region->size;
    for (Py_ssize_t z = 0; z < size[0]; z++)
        for (Py_ssize_t y = 0; y < size[1]; y++) {
            const uint16_t *row = row_of(region, z, y);
            for (Py_ssize_t x = 0; x < size[2]; x++) {
                const uint16_t *voxel = row + x;
                Py_ssize_t at[AXES] = {z + step[0], y + step[1], x + step[2]};
                while (row[x] && at[0] < size[0] && at[1] >= 0 && at[1] < size[1] && at[2] >= 0 && at[2] < size[2]) {
                    voxel += offset(region, step);
                    if (*voxel)
                        return 1;
                    for (int axis = 0; axis < AXES; axis++)
                        at[axis] += step[axis];
                }
            }
        }
    return 0;
}

static void extend_runs(const uint16_t *row, const uint16_t *before, Range range, const uint16_t *so_far, uint16_t *length)
{
    for (Py_ssize_t x = range.begin; x < range.end; x++)
        length[x] = (uint16_t)((so_far[x] & -(row[x] == before[x])) + 1);
}

/* Count every voxel at the length its run has reached there, which gives the runs of at least that length. The lengths
 * are kept for two planes, this and the one before, by direction. */
static void count_runs(const Region *region, uint16_t *lengths, Py_ssize_t longest, double *matrix)
{
    for (Py_ssize_t z = 0; z < region->size[0]; z++) {
        uint16_t *const current = lengths + z % 2 * DIRECTIONS * region->plane;
        uint16_t *const previous = lengths + (z + 1) % 2 * DIRECTIONS * region->plane;
        for (Py_ssize_t y = 0; y < region->size[1]; y++) {
            const uint16_t *row = row_of(region, z, y);
            const Range range = inside(row, region->size[2]);
            const Py_ssize_t first = (y + 1) * region->row + 1;
            for (int d = 0; d < DIRECTIONS; d++) {
                const uint16_t *from = (STEPS[d][0] ? previous : current) + d * region->plane;
                extend_runs(row, row - offset(region, STEPS[d]), range, from + first - in_plane(region, STEPS[d]),
                            current + d * region->plane + first);
            }
            for (Py_ssize_t x = range.begin; x < range.end; x++) {
                if (!row[x])
                    continue;
                double *cells = matrix + (row[x] - 1) * longest * DIRECTIONS;
                for (int d = 0; d < DIRECTIONS; d++)
                    cells[(current[d * region->plane + first + x] - 1) * DIRECTIONS + d]++;
            }
        }
    }
}

/* Run lengths: how many runs of each level and length there are in each direction. */
static Status fill_glrlm(const Region *region, double *matrix)
{
    const Py_ssize_t longest = longest_axis(region), stride = longest * DIRECTIONS;
    uint16_t *lengths = calloc((size_t)(2 * region->plane), DIRECTIONS * sizeof *lengths);
    if (!lengths)
        return NO_MEMORY;
    count_runs(region, lengths, longest, matrix);
    free(lengths);
    for (int d = 0; d < DIRECTIONS; d++) {
        int flat = 1;
        for (Py_ssize_t level = 0; level < region->level_count && longest > 1; level++)
            flat = flat && matrix[level * stride + DIRECTIONS + d] == 0;
        /* PyRadiomics leaves out a direction along which the region is nowhere two voxels thick, gaps included. */
        flat = flat && !has_aligned_voxels(region, STEPS[d]);
        for (Py_ssize_t level = 0; level < region->level_count; level++) {
            double *cells = matrix + level * stride + d;
            if (flat)
                cells[0] = 0;
            for (Py_ssize_t k = 0; k + 1 < longest; k++)
                cells[k * DIRECTIONS] -= cells[(k + 1) * DIRECTIONS];
        }
    }
    return DONE;
}

/* Dependence: how many voxels of each level have each number of neighbors of the same level. */
static Status fill_gldm(const Region *region, double *matrix)
{
    const Py_ssize_t size = region->size[2];
    uint16_t *restrict equal_count = malloc((size_t)size * sizeof *equal_count);
    if (!equal_count)
        return NO_MEMORY;
    for (Py_ssize_t z = 0; z < region->size[0]; z++)
        for (Py_ssize_t y = 0; y < region->size[1]; y++) {
            const uint16_t *row = row_of(region, z, y);
            const Range range = inside(row, size);
            for (Py_ssize_t x = range.begin; x < range.end; x++)
                equal_count[x] = 0;
            for (int dz = -1; dz <= 1; dz++)
                for (int dy = -1; dy <= 1; dy++) {
                    const uint16_t *other = row + dz * region->plane + dy * region->row;
                    for (Py_ssize_t x = range.begin; x < range.end; x++)
                        equal_count[x] = (uint16_t)(equal_count[x] + (row[x] == other[x - 1]) + (row[x] == other[x]) +
                                                    (row[x] == other[x + 1]));
                }
            for (Py_ssize_t x = range.begin; x < range.end; x++)
                if (row[x]) /* the voxel itself is among the equal ones */
                    matrix[(row[x] - 1) * DEPENDENCE_COLUMNS + equal_count[x] - 1]++;
        }
    free(equal_count);
    return DONE;
}

typedef struct {
    int32_t sum, count;
} Total;

static void add_tone_differences(const uint16_t *row, Range range, const Total *column, double *difference, double *matrix)
{
    for (Py_ssize_t x = range.begin; x < range.end; x++) {
        const int32_t sum = column[x - 1].sum + column[x].sum + column[x + 1].sum - row[x];
        const int32_t count = column[x - 1].count + column[x].count + column[x + 1].count - (row[x] != 0);
        difference[x] = count ? fabs((double)row[x] - (double)sum / (double)count) : 0;
    }
    for (Py_ssize_t x = range.begin; x < range.end; x++)
        if (row[x]) {
            double *cells = matrix + (row[x] - 1) * TONE_COLUMNS;
            cells[0]++;
            cells[1] += difference[x]; /* in the order of the voxels, on which the rounding depends */
        }
}

/* Tone difference: voxels of each level, the sum of their distances from the mean of their neighbors, the level. */
static Status fill_ngtdm(const Region *region, double *matrix)
{
    const Py_ssize_t size = region->size[2];
    Total *restrict columns = malloc((size_t)(size + 2) * sizeof *columns);
    double *difference = malloc((size_t)size * sizeof *difference);
    for (Py_ssize_t z = 0; columns && difference && z < region->size[0]; z++)
        for (Py_ssize_t y = 0; y < region->size[1]; y++) {
            const uint16_t *row = row_of(region, z, y);
            const Range range = inside(row, size);
            Total *restrict column = columns + 1;
            for (Py_ssize_t x = range.begin - 1; x <= range.end; x++)
                column[x] = (Total){0, 0};
            for (int dz = -1; dz <= 1; dz++)
                for (int dy = -1; dy <= 1; dy++) {
                    const uint16_t *other = row + dz * region->plane + dy * region->row;
                    for (Py_ssize_t x = range.begin - 1; x <= range.end; x++) {
                        column[x].sum += other[x];
                        column[x].count += other[x] != 0;
                    }
                }
            add_tone_differences(row, range, column, difference, matrix);
        }
    for (Py_ssize_t level = 0; level < region->level_count; level++)
        matrix[level * TONE_COLUMNS + 2] = (double)(level + 1);
    const Status status = columns && difference ? DONE : NO_MEMORY;
    free(columns);
    free(difference);
    return status;
}

typedef struct {
    uint32_t parent; /* itself, if this label stands for its zone */
    uint32_t size;
    uint16_t level;
} Label;

typedef struct {
    Label *labels;
    uint32_t count, capacity;
} Zones;

static uint32_t representative(Label *labels, uint32_t label)
{
    while (labels[label].parent != label)
        label = labels[label].parent = labels[labels[label].parent].parent;
    return label;
}

static uint32_t joined(Label *labels, uint32_t first, uint32_t second)
{
    const uint32_t a = representative(labels, first), b = representative(labels, second);
    return labels[Py_MAX(a, b)].parent = Py_MIN(a, b);
}

static Status add_label(Zones *zones, uint16_t level)
{
    if (zones->count == zones->capacity) {
        const uint32_t capacity = zones->capacity ? 2 * zones->capacity : 1024;
        Label *labels = realloc(zones->labels, capacity * sizeof *labels);
        if (!labels)
            return NO_MEMORY;
        zones->labels = labels;
        zones->capacity = capacity;
    }
    zones->labels[zones->count] = (Label){zones->count, 0, level};
    zones->count++;
    return DONE;
}

/* Indices of STEPS, taken backward, in the order in which a voxel looks for its zone. */
static const int ASKED[DIRECTIONS] = {4, 10, 12, 1, 7, 3, 5, 9, 11, 0, 2, 6, 8};

typedef struct {
    Py_ssize_t offset[DIRECTIONS], in_plane[DIRECTIONS];
    uint32_t touched[DIRECTIONS]; /* the neighbors, as bits, that touch this one: if of its level, already of its zone */
} Neighbors;

static void list_neighbors(const Region *region, Neighbors *neighbors)
{
    for (int k = 0; k < DIRECTIONS; k++) {
        const int *step = STEPS[ASKED[k]];
        neighbors->offset[k] = offset(region, step);
        neighbors->in_plane[k] = in_plane(region, step);
        neighbors->touched[k] = 0;
        for (int other = 0; other < DIRECTIONS; other++) {
            int touches = 1;
            for (int axis = 0; axis < AXES; axis++)
                touches = touches && abs(step[axis] - STEPS[ASKED[other]][axis]) <= 1;
            neighbors->touched[k] |= (uint32_t)touches << other;
        }
    }
}

static uint32_t equal_neighbors(const uint16_t *voxel, const Neighbors *neighbors) /* as bits */
{
    if (voxel[-neighbors->offset[0]] == *voxel)
        return 1; /* it touches all the others */
    uint32_t equal = 0;
    for (int k = 1; k < DIRECTIONS; k++)
        equal |= (uint32_t)(voxel[-neighbors->offset[k]] == *voxel) << k;
    return equal;
}

static int lowest_bit(uint32_t bits)
{
#ifdef __GNUC__
    return __builtin_ctz(bits);
#else
    int k = 0;
    while (!(bits >> k & 1))
        k++;
    return k;
#endif
}

/* Label zones in one sweep that keeps the labels of two planes. */
static Status label_zones(const Region *region, Zones *zones, uint32_t *planes)
{
    Neighbors neighbors;
    list_neighbors(region, &neighbors);
    for (Py_ssize_t z = 0; z < region->size[0]; z++) {
        uint32_t *const current = planes + z % 2 * region->plane, *const previous = planes + (z + 1) % 2 * region->plane;
        for (Py_ssize_t y = 0; y < region->size[1]; y++) {
            const uint16_t *row = row_of(region, z, y);
            const Range range = inside(row, region->size[2]);
            for (Py_ssize_t x = range.begin; x < range.end; x++) {
                if (!row[x])
                    continue;
                const Py_ssize_t at = (y + 1) * region->row + 1 + x;
                uint32_t equal = equal_neighbors(row + x, &neighbors), label = zones->count;
                if (!equal && add_label(zones, row[x]) != DONE)
                    return NO_MEMORY;
                for (int first = 1; equal; first = 0) {
                    const int k = lowest_bit(equal);
                    const uint32_t *plane = STEPS[ASKED[k]][0] ? previous : current;
                    const uint32_t other = plane[at - neighbors.in_plane[k]];
                    label = first ? other : joined(zones->labels, label, other);
                    equal &= ~neighbors.touched[k];
                }
                current[at] = label;
                zones->labels[label].size++;
            }
        }
    }
    return DONE;
}

static Status find_zones(const Region *region, Zones *zones)
{
    uint32_t *planes = malloc((size_t)(2 * region->plane) * sizeof *planes);
    const Status status = planes ? label_zones(region, zones, planes) : NO_MEMORY;
    free(planes);
    for (uint32_t label = zones->count; status == DONE && label-- > 0;) /* a parent is older than its children */
        if (zones->labels[label].parent != label)
            zones->labels[zones->labels[label].parent].size += zones->labels[label].size;
    return status;
}

static PyObject *raise_for(Status status, Py_ssize_t level_count)
{
    if (status == NO_MEMORY)
        return PyErr_NoMemory();
    return PyErr_Format(PyExc_ValueError, "gray levels must be from 0, which is outside, to %zd", level_count);
}

static int refuse(Py_buffer *view, PyObject *type, const char *message)
{
    PyErr_SetString(type, message);
    PyBuffer_Release(view);
    return -1;
}

/* Take a view of the levels and check all but their values. */
static int open_levels(PyObject *object, Py_ssize_t level_count, Py_buffer *view, Region *region)
{
    if (PyObject_GetBuffer(object, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0)
        return -1;
    if (level_count < 1 || level_count > UINT16_MAX)
        return refuse(view, PyExc_ValueError, "the number of gray levels must be from 1 to 65535");
    if (!view->format || strlen(view->format) != 1 || !strchr("bBhHiIlLqQ", *view->format))
        return refuse(view, PyExc_TypeError, "gray levels must be integers in the machine's byte order");
    if (view->ndim != AXES)
        return refuse(view, PyExc_ValueError, "gray levels must have three axes");
    uint64_t padded_size = 1; /* of factors of at most 16 bits each */
    for (int axis = 0; axis < AXES; axis++) {
        const Py_ssize_t size = region->size[axis] = view->shape[axis];
        if (size < 1 || size > UINT16_MAX - 2)
            return refuse(view, PyExc_ValueError, "each axis must have 1 to 65533 voxels");
        padded_size *= (uint64_t)size + 2;
    }
    if (padded_size > INT32_MAX)
        return refuse(view, PyExc_ValueError, "there must be less than 2^31 voxels");
    region->row = region->size[2] + 2;
    region->plane = (region->size[1] + 2) * region->row;
    region->level_count = level_count;
    return 0;
}

static int open_matrix(PyObject *object, const Py_ssize_t *shape, int rank, Py_buffer *view)
{
    if (PyObject_GetBuffer(object, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0)
        return -1;
    int fits = view->format && !strcmp(view->format, "d") && view->ndim == rank &&
               (uintptr_t)view->buf % sizeof(double) == 0;
    for (int axis = 0; fits && axis < rank; axis++)
        fits = view->shape[axis] == shape[axis];
    return fits ? 0 : refuse(view, PyExc_ValueError, "the matrix to fill must be float64 of the shape these levels ask for");
}

/* Give the shape of the matrix these levels ask for; the first axis is that of the levels, the rank is returned. */
typedef int (*ShapeOf)(const Region *region, Py_ssize_t *shape);
typedef Status (*Fill)(const Region *region, double *matrix);

static int shape_of_glcm(const Region *region, Py_ssize_t *shape)
{
    shape[1] = region->level_count;
    shape[2] = DIRECTIONS;
    return 3;
}

static int shape_of_glrlm(const Region *region, Py_ssize_t *shape)
{
    shape[1] = longest_axis(region);
    shape[2] = DIRECTIONS;
    return 3;
}

static int shape_of_gldm(const Region *region, Py_ssize_t *shape)
{
    (void)region;
    shape[1] = DEPENDENCE_COLUMNS;
    return 2;
}

static int shape_of_ngtdm(const Region *region, Py_ssize_t *shape)
{
    (void)region;
    shape[1] = TONE_COLUMNS;
    return 2;
}

static PyObject *fill(PyObject *args, ShapeOf shape_of, Fill fill_matrix)
{
    PyObject *levels_object, *matrix_object;
    Py_ssize_t level_count, shape[AXES];
    Py_buffer levels, matrix;
    Region region = {0};
    if (!PyArg_ParseTuple(args, "OnO", &levels_object, &level_count, &matrix_object) ||
        open_levels(levels_object, level_count, &levels, &region) < 0)
        return NULL;
    shape[0] = level_count;
    const int rank = shape_of(&region, shape);
    if (open_matrix(matrix_object, shape, rank, &matrix) < 0) {
        PyBuffer_Release(&levels);
        return NULL;
    }
    Status status;
    Py_BEGIN_ALLOW_THREADS
    status = pad(&region, &levels);
    if (status == DONE) {
        memset(matrix.buf, 0, (size_t)matrix.len);
        status = fill_matrix(&region, matrix.buf);
    }
    free(region.padded);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&matrix);
    PyBuffer_Release(&levels);
    if (status != DONE)
        return raise_for(status, level_count);
    Py_RETURN_NONE;
}

static PyObject *glcm(PyObject *module, PyObject *args)
{
    (void)module;
    return fill(args, shape_of_glcm, fill_glcm);
}

static PyObject *glrlm(PyObject *module, PyObject *args)
{
    (void)module;
    return fill(args, shape_of_glrlm, fill_glrlm);
}

static PyObject *gldm(PyObject *module, PyObject *args)
{
    (void)module;
    return fill(args, shape_of_gldm, fill_gldm);
}

static PyObject *ngtdm(PyObject *module, PyObject *args)
{
    (void)module;
    return fill(args, shape_of_ngtdm, fill_ngtdm);
}

static PyObject *pairs_of(const Zones *zones) /* level and size of each zone, as bytes of int64 */
{
    Py_ssize_t zone_count = 0;
    for (uint32_t label = 0; label < zones->count; label++)
        zone_count += zones->labels[label].parent == label;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, zone_count * 2 * (Py_ssize_t)sizeof(int64_t));
    if (!bytes)
        return NULL;
    char *target = PyBytes_AS_STRING(bytes);
    for (uint32_t label = 0; label < zones->count; label++)
        if (zones->labels[label].parent == label) {
            const int64_t pair[2] = {zones->labels[label].level, zones->labels[label].size};
            memcpy(target, pair, sizeof pair);
            target += sizeof pair;
        }
    return bytes;
}

static PyObject *zones(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *levels_object;
    Py_ssize_t level_count;
    Py_buffer levels;
    Region region = {0};
    if (!PyArg_ParseTuple(args, "On", &levels_object, &level_count) ||
        open_levels(levels_object, level_count, &levels, &region) < 0)
        return NULL;
    Zones found = {0};
    Status status;
    Py_BEGIN_ALLOW_THREADS
    status = pad(&region, &levels);
    if (status == DONE)
        status = find_zones(&region, &found);
    free(region.padded);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&levels);
    PyObject *pairs = status == DONE ? pairs_of(&found) : raise_for(status, level_count);
    free(found.labels);
    return pairs;
}

static PyMethodDef methods[] = {
    {"glcm", glcm, METH_VARARGS, "glcm(levels, level_count, matrix): fill the co-occurrence matrix."},
    {"glrlm", glrlm, METH_VARARGS, "glrlm(levels, level_count, matrix): fill the run length matrix."},
    {"gldm", gldm, METH_VARARGS, "gldm(levels, level_count, matrix): fill the dependence matrix."},
    {"ngtdm", ngtdm, METH_VARARGS, "ngtdm(levels, level_count, matrix): fill the tone difference matrix."},
    {"zones", zones, METH_VARARGS, "zones(levels, level_count): level and size of each zone, as bytes of int64."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_texture",
    .m_doc = "Texture matrices; see nodogram.radiomics.texture.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__texture(void)
{
    return PyModuleDef_Init(&definition);
}
