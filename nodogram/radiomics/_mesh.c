/* The triangle mesh of a region and its diameters; mesh.py is the Python face and says what is measured.
 *
 * A corner (z, y, x) of a cube has the number 4z + 2y + x, an edge along axis a (z 0, y 1, x 2) the number 4a + 2u + v, u and
 * v being its place on the other two axes in the order z, y, x. Vertices are counted in half voxels, so they are integers.
 *
 * Sums and products are rounded one by one, in PyRadiomics' order. The compiler must not contract them.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { AXES = 3, CORNERS = 8, EDGES = 12, PATTERNS = 256, END = 0xF, LANES = 4 };

/* The triangles of the patterns without corner 7; the others have those of their complement, turned over. An edge is a
 * hexadecimal digit, from the lowest up. Found by tests/golden/derive_mesh_table.py. */
static const uint64_t TRIANGLES[PATTERNS / 2] = {
    0x000000000000000F, 0x000000000000F408, 0x000000000000F815, 0x000000000F015405,
    0x000000000000F492, 0x000000000F208892, 0x000000000F492815, 0x000000F201215592,
    0x000000000000F395, 0x000000000F395408, 0x000000000F198391, 0x000000F013039409,
    0x000000000F432534, 0x000000F320308853, 0x000000F132124481, 0x000000000F132201,
    0x000000000000F06A, 0x000000000F46A4A8, 0x000000000F06A815, 0x000000F4656A5A15,
    0x000000000F49206A, 0x000000FA89A926A2, 0x000000F49206A815, 0x000F9151922A126A,
    0x000000000F06A395, 0x000000F395A846A4, 0x000000F06A981391, 0x000F16A469619139,
    0x000000F06A432534, 0x000F26AA852A5532, 0x000F13212448106A, 0x000000F32112A26A,
    0x000000000000FA71, 0x000000000F408A71, 0x000000000F758A78, 0x000000F754740A70,
    0x000000000F492A71, 0x000000FA71208892, 0x000000F492758A78, 0x000F0A7092079759,
    0x000000000FA71395, 0x000000FA71395408, 0x000000F8A99A7739, 0x000FA40A74794739,
    0x000000FA71432534, 0x000F3203088531A7, 0x000F4822732878A7, 0x000000F0320730A7,
    0x000000000F167106, 0x000000F674147184, 0x000000F756658806, 0x000000000F465675,
    0x000000F492106167, 0x000F692189961167, 0x000F675065058492, 0x000000F675265259,
    0x000000F395167106, 0x000F674714184395, 0x000F739670790098, 0x000000F674479739,
    0x000F432534167106, 0xF832853826187867, 0xF867068873248832, 0x000000000F367632,
    0x000000000000F2B6, 0x000F82B284B68086, 0x000000000F2B6581, 0xFB5442B15B0B6B01,
    0x000000000F69B496, 0x000000F9B8B68086, 0xF1641481B615919B, 0x000F0B615005BB59,
    0x000F65B53B256529, 0xF4290850566533B6, 0xF6133B6681629698, 0x000F3013603B6429,
    0x000000F4566533B6, 0x000F0850566533B6, 0x000F4863816833B6, 0x000000F3013603B6,
    0x000000000F2B0A0B, 0x000000F8BAB842B4, 0xF5BA15A52B580250, 0x000F42B15414BA1B,
    0x000000FBA9A09904, 0x000000000FBA9A89, 0x000F480A9BA5915A, 0x000000FA9BA5915A,
    0xF25052905A3B55BA, 0x000F8BA83B385429, 0x000F3BA13A280829, 0x000000F3BA13A429,
    0x000F3B5A0B05B450, 0x000000F8BA83B385, 0x000000F4803BA13A, 0x000000000F3BA13A,
    0x000F1621A62B11B7, 0xF18778BB842B40A6, 0xF28A2A6258B72275, 0x000F4754B72B40A6,
    0xF19BB711491A6164, 0x000FB89B1871B0A6, 0x000FB5975B4A648A, 0x000000FB5975B0A6,
    0xF3B795112921A2A6, 0x000F3B70A6429851, 0x000F3B7A98A2962A, 0x000000F3B70A6429,
    0x000F3B745665AA51, 0x000000F3B70A6851, 0x000000F3B74A648A, 0x000000000F3B70A6,
    0x000000F0212B11B7, 0x000F18778BB842B4, 0x000FB72587782280, 0x000000F4754B72B4,
    0x000F904B79970071, 0x000000FB89B1871B, 0x000000F480B5975B, 0x000000000FB5975B,
    0x000F3B7210251529, 0x000000F3B7429851, 0x000000F3B7280829, 0x000000000F3B7429,
    0x000000F3B7051450, 0x000000000F3B7851, 0x000000000F3B7480, 0x000000000000F3B7,
};

static const unsigned char MIDPOINT[EDGES][AXES] = {
    {1, 0, 0}, {1, 0, 2}, {1, 2, 0}, {1, 2, 2}, {0, 1, 0}, {0, 1, 2},
    {2, 1, 0}, {2, 1, 2}, {0, 0, 1}, {0, 2, 1}, {2, 0, 1}, {2, 2, 1},
};

/* The first and the last vertex on a line of voxels, and which planes have them as corners of their convex hull. */
typedef struct {
    int32_t end[2];
    unsigned char corner_of[2]; /* a bit for each axis: of the plane across it */
} Line;

typedef struct {
    const unsigned char *inside;
    Py_ssize_t size[AXES];
    double spacing[AXES];
    Py_ssize_t width[AXES];   /* in half voxels */
    double *coordinate[AXES]; /* of each half voxel, mm */
    Line *along_x;            /* by z and y */
    Line *along_y;            /* by z and x */
    uint64_t *patterns;       /* of one row of cubes, a byte each */
    double area, volume, diameter[AXES + 1];
} Mesh;

static void add_vertex(Mesh *mesh, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x)
{
    Line *line[2] = {mesh->along_x + z * mesh->width[1] + y, mesh->along_y + z * mesh->width[2] + x};
    const int32_t place[2] = {(int32_t)x, (int32_t)y};
    for (int k = 0; k < 2; k++) {
        line[k]->end[0] = Py_MIN(line[k]->end[0], place[k]);
        line[k]->end[1] = Py_MAX(line[k]->end[1], place[k]);
    }
}

/* Each edge of the lattice is seen by the cube that has it at corner 6, but for those on the first faces of the array. */
static void add_vertices(Mesh *mesh, unsigned cube, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x)
{
    const unsigned here = cube >> 6 & 1;
    if (here != (cube >> 2 & 1))
        add_vertex(mesh, 2 * z + 1, 2 * y + 2, 2 * x);
    if (here != (cube >> 4 & 1))
        add_vertex(mesh, 2 * z + 2, 2 * y + 1, 2 * x);
    if (here != (cube >> 7 & 1))
        add_vertex(mesh, 2 * z + 2, 2 * y + 2, 2 * x + 1);
}

static void cross(const double *a, const double *b, double *product)
{
    product[0] = a[1] * b[2] - b[1] * a[2];
    product[1] = a[2] * b[0] - b[2] * a[0];
    product[2] = a[0] * b[1] - b[0] * a[1];
}

static void add_triangles(Mesh *mesh, unsigned cube, Py_ssize_t z, Py_ssize_t y, Py_ssize_t x)
{
    const double *const origin[AXES] = {mesh->coordinate[0] + 2 * z, mesh->coordinate[1] + 2 * y, mesh->coordinate[2] + 2 * x};
    const int turned = cube >= PATTERNS / 2;
    for (uint64_t left = TRIANGLES[turned ? PATTERNS - 1 - cube : cube]; (left & END) != END; left >>= 12) {
        double a[AXES], b[AXES], c[AXES], normal[AXES];
        for (int axis = 0; axis < AXES; axis++) {
            a[axis] = origin[axis][MIDPOINT[left & 0xF][axis]];
            b[axis] = origin[axis][MIDPOINT[left >> 4 & 0xF][axis]];
            c[axis] = origin[axis][MIDPOINT[left >> 8 & 0xF][axis]];
        }
        cross(a, b, normal);
        const double volume = normal[0] * c[0] + normal[1] * c[1] + normal[2] * c[2];
        mesh->volume += turned ? -volume : volume;
        for (int axis = 0; axis < AXES; axis++) {
            a[axis] -= c[axis];
            b[axis] -= c[axis];
        }
        cross(a, b, normal);
        mesh->area += 0.5 * sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]);
    }
}

static void find_patterns(Mesh *mesh, Py_ssize_t z, Py_ssize_t y)
{
    const Py_ssize_t row = mesh->size[2], plane = mesh->size[1] * row;
    const unsigned char *restrict a = mesh->inside + z * plane + y * row, *restrict b = a + row;
    const unsigned char *restrict c = a + plane, *restrict d = b + plane;
    unsigned char *restrict pattern = (unsigned char *)mesh->patterns;
    for (Py_ssize_t x = 0; x < row - 1; x++) {
        pattern[x] = (unsigned char)((a[x] != 0) | (a[x + 1] != 0) << 1 | (b[x] != 0) << 2 | (b[x + 1] != 0) << 3 |
                                     (c[x] != 0) << 4 | (c[x + 1] != 0) << 5 | (d[x] != 0) << 6 | (d[x + 1] != 0) << 7);
    }
}

static void sum_triangles(Mesh *mesh)
{
    const Py_ssize_t cubes = mesh->size[2] - 1;
    const unsigned char *pattern = (const unsigned char *)mesh->patterns;
    for (Py_ssize_t z = 0; z + 1 < mesh->size[0]; z++)
        for (Py_ssize_t y = 0; y + 1 < mesh->size[1]; y++) {
            find_patterns(mesh, z, y);
            for (Py_ssize_t first = 0; first < cubes; first += CORNERS) {
                const uint64_t eight = mesh->patterns[first / CORNERS];
                if (eight == 0 || eight == UINT64_MAX)
                    continue;
                for (Py_ssize_t x = first; x < first + CORNERS && x < cubes; x++)
                    if (pattern[x] != 0 && pattern[x] != PATTERNS - 1) {
                        add_vertices(mesh, pattern[x], z, y, x);
                        add_triangles(mesh, pattern[x], z, y, x);
                    }
            }
        }
    mesh->volume /= 6;
}

/* Points by coordinate, for the processor to take several at a time. */
typedef struct {
    double *at[AXES];
    Py_ssize_t count;
} Points;

static void add_point(const Mesh *mesh, Points *points, const Py_ssize_t *place)
{
    for (int axis = 0; axis < AXES; axis++)
        points->at[axis][points->count] = mesh->coordinate[axis][place[axis]];
    points->count++;
}

/* The largest squared distance of two points. A pair met twice has the same distance both times. */
static double farthest(Points *points)
{
    double best[LANES] = {0};
    const double *const z = points->at[0], *const y = points->at[1], *const x = points->at[2];
    for (int k = 0; points->count && k < LANES - 1; k++)
        for (int axis = 0; axis < AXES; axis++)
            points->at[axis][points->count + k] = points->at[axis][0];
    for (Py_ssize_t i = 0; i < points->count; i++)
        for (Py_ssize_t j = 0; j < i; j += LANES)
            for (int k = 0; k < LANES; k++) {
                const double dz = z[i] - z[j + k], dy = y[i] - y[j + k], dx = x[i] - x[j + k];
                const double square = dz * dz + dy * dy + dx * dx;
                best[k] = square > best[k] ? square : best[k];
            }
    return Py_MAX(Py_MAX(best[0], best[1]), Py_MAX(best[2], best[3]));
}

/* Only corners of the convex hull can be farthest apart. Any other vertex p is a mean of corners h with weights w, and for
 * every q the sum of w |h - q|^2 is |p - q|^2 plus the sum of w |h - p|^2, which is at least the square of half a voxel. So
 * some corner is farther from q by that much; whether also after rounding is asked here.
 *
 * If not, the ends of each line are taken. That is always exact: rounding never makes a larger difference the smaller one. */
static int hull_decides(const Mesh *mesh)
{
    double extent = 0, step = DBL_MAX;
    for (int axis = 0; axis < AXES; axis++) {
        const double last = mesh->coordinate[axis][mesh->width[axis] - 1];
        extent += last * last;
        step = Py_MIN(step, mesh->spacing[axis] / 2);
    }
    return step * step > 64 * DBL_EPSILON * extent;
}

typedef struct {
    int across, by, along; /* axes: of the plane's normal, on which its lines are counted, of the lines */
    Line *lines;
    Py_ssize_t stride;
} Plane;

static int bulges(const Plane *plane, int end, const Py_ssize_t *from, Py_ssize_t to) /* whether from[1] is a corner */
{
    const int64_t origin = plane->lines[from[0] * plane->stride].end[end];
    const int64_t rise = plane->lines[from[1] * plane->stride].end[end] - origin;
    const int64_t whole_rise = plane->lines[to * plane->stride].end[end] - origin;
    const int64_t turn = (from[1] - from[0]) * whole_rise - (to - from[0]) * rise;
    return end == 0 ? turn > 0 : turn < 0;
}

static void add_corners(const Mesh *mesh, const Plane *plane, Py_ssize_t at, int prune, Py_ssize_t *chain, Points *points)
{
    for (int end = 0; end < 2; end++) {
        Py_ssize_t count = 0;
        for (Py_ssize_t k = 0; k < mesh->width[plane->by]; k++) {
            const Line *line = plane->lines + k * plane->stride;
            if (line->end[0] > line->end[1])
                continue;
            while (prune && count > 1 && !bulges(plane, end, chain + count - 2, k))
                count--;
            chain[count++] = k;
        }
        for (Py_ssize_t k = 0; k < count; k++) {
            Line *line = plane->lines + chain[k] * plane->stride;
            Py_ssize_t place[AXES];
            place[plane->across] = at;
            place[plane->by] = chain[k];
            place[plane->along] = line->end[end];
            /* The only vertex of a line may be a corner on either side. It counts as the first. */
            unsigned char *corner_of = &line->corner_of[line->end[0] < line->end[1] ? end : 0];
            if (!(*corner_of >> plane->across & 1))
                add_point(mesh, points, place);
            *corner_of |= (unsigned char)(1 << plane->across);
        }
    }
}

static int is_corner_across_x(const Mesh *mesh, const Py_ssize_t *place)
{
    const Line *line = mesh->along_y + place[0] * mesh->width[2] + place[2];
    return (line->end[0] == place[1] && line->corner_of[0]) || (line->end[1] == place[1] && line->corner_of[1]);
}

/* Vertices that are corners in each of their three planes: all corners of the whole, and few others. */
static void add_common_corners(const Mesh *mesh, Points *points)
{
    const unsigned char across_z_and_y = 1 << 0 | 1 << 1;
    Py_ssize_t place[AXES];
    for (place[0] = 0; place[0] < mesh->width[0]; place[0]++)
        for (place[1] = 0; place[1] < mesh->width[1]; place[1]++) {
            const Line *line = mesh->along_x + place[0] * mesh->width[1] + place[1];
            for (int end = 0; end < (line->end[0] < line->end[1] ? 2 : 1); end++) {
                place[2] = line->end[end];
                if (line->corner_of[end] == across_z_and_y && is_corner_across_x(mesh, place))
                    add_point(mesh, points, place);
            }
        }
}

static void find_diameters(Mesh *mesh, Py_ssize_t *chain, Points *points)
{
    const int prune = hull_decides(mesh);
    const Py_ssize_t *width = mesh->width;
    for (int across = 0; across < AXES; across++) {
        for (Py_ssize_t at = 0; at < width[across]; at++) {
            const Plane planes[AXES] = {
                {0, 1, 2, mesh->along_x + at * width[1], 1},
                {1, 0, 2, mesh->along_x + at, width[1]},
                {2, 0, 1, mesh->along_y + at, width[2]},
            };
            points->count = 0;
            add_corners(mesh, &planes[across], at, prune, chain, points);
            const double square = farthest(points);
            mesh->diameter[across] = Py_MAX(mesh->diameter[across], square);
        }
    }
    points->count = 0;
    add_common_corners(mesh, points);
    mesh->diameter[AXES] = farthest(points);
    for (int k = 0; k <= AXES; k++)
        mesh->diameter[k] = sqrt(mesh->diameter[k]);
}

static void clear(Line *lines, Py_ssize_t count)
{
    for (Py_ssize_t k = 0; k < count; k++)
        lines[k] = (Line){{INT32_MAX, -1}, {0, 0}};
}

static int measure(Mesh *mesh)
{
    const Py_ssize_t *width = mesh->width;
    const Py_ssize_t x_lines = width[0] * width[1], y_lines = width[0] * width[2];
    const Py_ssize_t longest = Py_MAX(width[0], Py_MAX(width[1], width[2])), most = 2 * x_lines + 2 * longest + LANES;
    /* Pages of it that hold no point are never touched. */
    double *const numbers = malloc((size_t)(width[0] + width[1] + width[2] + AXES * most) * sizeof *numbers);
    Py_ssize_t *const chain = malloc((size_t)longest * sizeof *chain);
    mesh->along_x = malloc((size_t)x_lines * sizeof *mesh->along_x);
    mesh->along_y = malloc((size_t)y_lines * sizeof *mesh->along_y);
    mesh->patterns = calloc((size_t)mesh->size[2] / CORNERS + 1, sizeof *mesh->patterns);
    const int done = numbers && chain && mesh->along_x && mesh->along_y && mesh->patterns;
    if (done) {
        Points points = {{0}, 0};
        double *next = numbers;
        for (int axis = 0; axis < AXES; next += width[axis++]) {
            mesh->coordinate[axis] = next;
            for (Py_ssize_t k = 0; k < width[axis]; k++)
                next[k] = 0.5 * (double)k * mesh->spacing[axis];
        }
        for (int axis = 0; axis < AXES; axis++, next += most)
            points.at[axis] = next;
        clear(mesh->along_x, x_lines);
        clear(mesh->along_y, y_lines);
        sum_triangles(mesh);
        find_diameters(mesh, chain, &points);
    }
    free(mesh->patterns);
    free(mesh->along_y);
    free(mesh->along_x);
    free(chain);
    free(numbers);
    return done;
}

static PyObject *coefficients(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *inside_object;
    Py_buffer inside;
    Mesh mesh = {0};
    if (!PyArg_ParseTuple(args, "O(ddd)", &inside_object, &mesh.spacing[0], &mesh.spacing[1], &mesh.spacing[2]) ||
        PyObject_GetBuffer(inside_object, &inside, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0)
        return NULL;
    int sound = inside.ndim == AXES && inside.itemsize == 1;
    for (int axis = 0; sound && axis < AXES; axis++) {
        mesh.size[axis] = inside.shape[axis];
        mesh.width[axis] = 2 * inside.shape[axis];
        sound = inside.shape[axis] > 0 && inside.shape[axis] <= INT32_MAX / 4;
    }
    if (!sound) {
        PyBuffer_Release(&inside);
        PyErr_SetString(PyExc_ValueError, "three axes of at least one voxel and bytes are required");
        return NULL;
    }
    mesh.inside = inside.buf;
    int done;
    Py_BEGIN_ALLOW_THREADS
    done = measure(&mesh);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&inside);
    if (!done)
        return PyErr_NoMemory();
    const double *d = mesh.diameter;
    return Py_BuildValue("dd(dddd)", mesh.area, mesh.volume, d[0], d[1], d[2], d[3]);
}

static PyMethodDef methods[] = {
    {"coefficients", coefficients, METH_VARARGS, "coefficients(inside, spacing_mm): area, volume and diameters of the mesh."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_mesh",
    .m_doc = "Mesh of a region; see nodogram.radiomics.mesh.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__mesh(void)
{
    return PyModuleDef_Init(&definition);
}
