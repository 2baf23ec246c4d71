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
    struct cell {
        char *text;
        enum style style;
    } * cells;
    size_t n_cells, capacity;
};

static unsigned columns_of(const char *text);
static unsigned block_end(const struct table *table, const unsigned *widths, unsigned begin,
                          unsigned width);
static void print_block(const struct table *table, const unsigned *widest, unsigned begin,
                        unsigned end, unsigned width, FILE *out);
static void fit(const struct table *table, unsigned *widths, unsigned begin, unsigned end,
                unsigned width);
static void print_cell(const struct cell *cell, unsigned width, bool right, bool last, FILE *out);
static unsigned least(const struct table *table, const unsigned *widths, unsigned column);

struct table *table_create(const struct table_column *columns, unsigned n_columns)
{
    struct table *table = calloc(1, sizeof(*table));

    ensure(table && n_columns <= COLUMNS_MAX);
    table->columns = columns;
    table->n_columns = n_columns;
    for (unsigned i = 0; i < n_columns; i++) {
        table_cell(table, columns[i].title);
        table_style(table, STYLE_BOLD);
    }
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
    table->cells[table->n_cells++] = (struct cell){copy, STYLE_PLAIN};
}

void table_style(struct table *table, enum style style)
{
    table->cells[table->n_cells - 1].style = style;
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
        unsigned n = columns_of(table->cells[i].text);
        unsigned *widest = &widths[i % table->n_columns];

        *widest = n > *widest ? n : *widest;
    }
    for (unsigned begin = 0; out && begin < table->n_columns;) {
        unsigned end = width ? block_end(table, widths, begin, width) : table->n_columns;

        print_block(table, widths, begin, end, width, out);
        begin = end;
    }
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i].text);
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

/* Columns from `begin` that have room side by side, the first column before them; one at least. */
static unsigned block_end(const struct table *table, const unsigned *widths, unsigned begin,
                          unsigned width)
{
    unsigned sum = begin ? least(table, widths, 0) : 0, end = begin;

    for (; end < table->n_columns; end++) {
        sum += least(table, widths, end) + (end ? GAP : 0);
        if (sum > width && end > begin)
            break;
    }
    return end;
}

static unsigned least(const struct table *table, const unsigned *widths, unsigned column)
{
    return table->columns[column].shrink && widths[column] > SHRUNK_MIN ? SHRUNK_MIN
                                                                        : widths[column];
}

static void print_block(const struct table *table, const unsigned *widest, unsigned begin,
                        unsigned end, unsigned width, FILE *out)
{
    unsigned widths[COLUMNS_MAX];

    memcpy(widths, widest, sizeof(widths));
    if (width)
        fit(table, widths, begin, end, width);
    if (begin)
        fputc('\n', out);
    for (size_t row = 0; row < table->n_cells; row += table->n_columns) {
        if (begin)
            print_cell(&table->cells[row], widths[0], table->columns[0].right, false, out);
        for (unsigned i = begin; i < end; i++)
            print_cell(&table->cells[row + i], widths[i], table->columns[i].right, i + 1 == end,
                       out);
    }
}

static void fit(const struct table *table, unsigned *widths, unsigned begin, unsigned end,
                unsigned width)
{
    for (;;) {
        unsigned sum = 0, widest = COLUMNS_MAX;

        for (unsigned i = 0; i < end; i++) {
            if (i && i < begin)
                continue; /* the first column stands before each block */
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

static void print_cell(const struct cell *cell, unsigned width, bool right, bool last, FILE *out)
{
    unsigned n = columns_of(cell->text), printed = 0;

    if (right)
        for (unsigned i = n; i < width; i++)
            fputc(' ', out);
    if (cell->style)
        fputs(style_begin(cell->style, out), out);
    for (const char *text = cell->text; *text; text++) {
        if ((*text & 0xc0) != 0x80 && ++printed == width && n > width) {
            fputc('~', out);
            break;
        }
        fputc(*text, out);
    }
    if (cell->style)
        fputs(style_end(out), out);
    if (last) {
        fputc('\n', out);
        return;
    }
    for (unsigned i = right ? width : n; i < width; i++)
        fputc(' ', out);
    for (unsigned i = 0; i < GAP; i++)
        fputc(' ', out);
}
