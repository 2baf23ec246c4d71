#include "table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"

enum { COLUMNS_MAX = 32, GAP = 2, SHRUNK_MIN = 8, CELL_SIZE = 4096 };

struct table {
    const struct table_column *columns;
    unsigned n_columns;
    char **cells;
    size_t n_cells, capacity;
};

static unsigned columns_of(const char *text);
static void fit(const struct table *table, unsigned *widths, unsigned width);
static void print_cell(const char *text, unsigned width, bool right, bool last, FILE *out);

struct table *table_create(const struct table_column *columns, unsigned n_columns)
{
    struct table *table = calloc(1, sizeof(*table));

    ensure(table && n_columns <= COLUMNS_MAX);
    table->columns = columns;
    table->n_columns = n_columns;
    for (unsigned i = 0; i < n_columns; i++)
        table_cell(table, columns[i].title);
    return table;
}

void table_cell(struct table *table, const char *text)
{
    char *copy = strdup(text);

    if (table->n_cells == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->cells = realloc(table->cells, table->capacity * sizeof(table->cells[0]));
    }
    ensure(copy && table->cells);
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    table->cells[table->n_cells++] = copy;
}

void table_cellf(struct table *table, const char *format, ...)
{
    char text[CELL_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    table_cell(table, text);
}

void table_print(struct table *table, FILE *out, unsigned width)
{
    unsigned widths[COLUMNS_MAX] = {0};

    for (size_t i = 0; i < table->n_cells; i++) {
        unsigned n = columns_of(table->cells[i]);
        unsigned *widest = &widths[i % table->n_columns];

        *widest = n > *widest ? n : *widest;
    }
    if (width)
        fit(table, widths, width);
    for (size_t i = 0; i < table->n_cells; i++) {
        unsigned column = (unsigned)(i % table->n_columns);

        if (out)
            print_cell(table->cells[i], widths[column], table->columns[column].right,
                       column + 1 == table->n_columns, out);
        free(table->cells[i]);
    }
    free(table->cells);
    free(table);
}

unsigned table_terminal_width(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
        return 0;
    return size.ws_col;
}

/* Bytes that begin a character of UTF-8. */
static unsigned columns_of(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

static void fit(const struct table *table, unsigned *widths, unsigned width)
{
    for (;;) {
        unsigned sum = 0, widest = COLUMNS_MAX;

        for (unsigned i = 0; i < table->n_columns; i++) {
            sum += widths[i] + (i ? GAP : 0);
            if (table->columns[i].shrink && widths[i] > SHRUNK_MIN &&
                (widest == COLUMNS_MAX || widths[i] > widths[widest]))
                widest = i;
        }
        if (sum <= width || widest == COLUMNS_MAX)
            return;
        widths[widest]--;
    }
}

static void print_cell(const char *text, unsigned width, bool right, bool last, FILE *out)
{
    unsigned n = columns_of(text), printed = 0;

    if (right)
        for (unsigned i = n; i < width; i++)
            fputc(' ', out);
    for (; *text; text++) {
        if ((*text & 0xc0) != 0x80 && ++printed == width && n > width) {
            fputc('~', out);
            break;
        }
        fputc(*text, out);
    }
    if (last) {
        fputc('\n', out);
        return;
    }
    for (unsigned i = right ? width : n; i < width; i++)
        fputc(' ', out);
    for (unsigned i = 0; i < GAP; i++)
        fputc(' ', out);
}
