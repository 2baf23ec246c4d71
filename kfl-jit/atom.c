#include "atom.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "code.h"
#include "ensure.h"

static void *more(struct atoms *atoms, void *array, uint32_t n, uint32_t *capacity, size_t size);
static struct kfl_slice keep_text(struct atoms *atoms, const struct kfl_value *value);
static uint8_t prefix_size(struct kfl_slice pattern);
static char then_or_end(struct kfl_slice pattern, size_t at);
static bool same_atom(const struct atom *a, const struct atom *b);
static uint8_t at_least(const struct atom *atom, int64_t value);
static bool ordered(const struct atom *atom, struct kfl_number number);

void atoms_init(struct atoms *atoms)
{
    *atoms = (struct atoms){0};
}

void atoms_done(struct atoms *atoms)
{
    for (uint32_t i = 0; i < atoms->n_subjects; i++) {
        free(atoms->subject[i].atom);
        patterns_free(atoms->subject[i].patterns);
    }
    for (uint32_t i = 0; i < atoms->n_texts; i++)
        free(atoms->text[i]);
    free(atoms->text);
    free(atoms->atom);
    free(atoms->subject);
    *atoms = (struct atoms){0};
}

uint32_t atoms_subject(struct atoms *atoms, const struct ast_path *path)
{
    struct subject *subject;

    for (uint32_t i = 0; i < atoms->n_subjects; i++)
        if (path_equal(&atoms->subject[i].path, path))
            return i;
    atoms->subject = more(atoms, atoms->subject, atoms->n_subjects, &atoms->subject_capacity,
                          sizeof *atoms->subject);
    if (atoms->no_memory)
        return SUBJECT_NONE;
    subject = &atoms->subject[atoms->n_subjects];
    *subject = (struct subject){.path = *path};
    for (unsigned proto = 0; proto < KFL_PROTO_COUNT; proto++) {
        subject->place[proto] = path_resolve(path, proto);
        if (subject->place[proto].kind == PATH_GENERAL)
            return SUBJECT_NONE;
    }
    return atoms->n_subjects++;
}

uint32_t atoms_atom(struct atoms *atoms, uint32_t subject, enum atom_op op,
                    const struct kfl_value *constant, struct kfl_slice pattern)
{
    struct atom atom = {.subject = subject, .op = (uint8_t)op, .text = pattern};
    struct subject *of = &atoms->subject[subject];

    atom.absent = MAY_ABSENT;
    if (op == ATOM_STARTS_WITH || op == ATOM_ENDS_WITH || op == ATOM_CONTAINS)
        atom.absent = MAY_FALSE;
    else if (op == ATOM_NOT_GROUP)
        atom.absent = MAY_TRUE;
    if (constant && constant->type == KFL_REGEX) {
        atom.regex = constant->regex;
        atom.prefix_size = prefix_size(pattern);
        atom.then = atom.prefix_size ? then_or_end(pattern, atom.prefix_size + 1u) : 0;
    } else if (constant) {
        atom.numeric = constant->type == KFL_INT || constant->type == KFL_FLOAT;
        atom.number = value_number(constant);
        atom.text = keep_text(atoms, constant);
    }
    for (uint32_t i = 0; i < of->n; i++)
        if (same_atom(&atoms->atom[of->atom[i]], &atom))
            return of->atom[i];
    atoms->atom =
        more(atoms, atoms->atom, atoms->n_atoms, &atoms->atom_capacity, sizeof *atoms->atom);
    of->atom = more(atoms, of->atom, of->n, &of->capacity, sizeof *of->atom);
    if (atoms->no_memory)
        return 0;
    of->atom[of->n++] = atoms->n_atoms;
    atoms->atom[atoms->n_atoms] = atom;
    return atoms->n_atoms++;
}

uint32_t atoms_general(struct atoms *atoms, const struct kfl_statement *statement,
                       const struct ast *tree)
{
    struct kfl_slice text = {statement->text + tree->offset, tree->end - tree->offset};
    bool total = tree->kind == AST_CALL || tree->kind == AST_DECODE || tree->kind == AST_GROUP;

    for (uint32_t i = 0; i < atoms->n_atoms; i++) {
        const struct atom *other = &atoms->atom[i];

        if (other->op == ATOM_GENERAL && slice_equal(other->text, text) &&
            other->statement->now_ms == statement->now_ms && other->tree->kind == tree->kind)
            return i;
    }
    atoms->atom =
        more(atoms, atoms->atom, atoms->n_atoms, &atoms->atom_capacity, sizeof *atoms->atom);
    if (atoms->no_memory)
        return 0;
    atoms->atom[atoms->n_atoms] = (struct atom){.subject = SUBJECT_NONE,
                                                .op = ATOM_GENERAL,
                                                .absent = total ? MAY_FALSE : MAY_ABSENT,
                                                .text = text,
                                                .tree = tree,
                                                .statement = statement};
    return atoms->n_atoms++;
}

int atoms_make_patterns(struct atoms *atoms)
{
    int result = 0;

    for (uint32_t i = 0; i < atoms->n_subjects && !result; i++) {
        struct subject *subject = &atoms->subject[i];
        struct patterns_row *row = calloc(subject->n + 1u, sizeof *row);
        uint32_t n = 0, regexes = 0;

        if (!row)
            return -ENOMEM;
        for (uint32_t k = 0; k < subject->n; k++) {
            const struct atom *atom = &atoms->atom[subject->atom[k]];

            if (atom->op != ATOM_REGEX && atom->op != ATOM_CONTAINS)
                continue;
            regexes += atom->op == ATOM_REGEX;
            row[n++] = (struct patterns_row){.text = atom->text.text,
                                             .size = atom->text.size,
                                             .literal = atom->op == ATOM_CONTAINS,
                                             .id = subject->atom[k]};
        }
        /* One or two literals are found faster without. */
        if (regexes || n > 2)
            result = patterns_create(row, n, &subject->patterns);
        for (uint32_t k = 0; k < n && subject->patterns; k++)
            atoms->atom[row[k].id].scanned = row[k].taken;
        free(row);
    }
    return result;
}

bool atom_holds(const struct atom *atom, const struct kfl_value *value)
{
    char buffer[VALUE_TEXT_MAX];
    struct kfl_slice text;

    switch ((enum atom_op)atom->op) {
    case ATOM_TRUTH:
        return value_truth(value);
    case ATOM_NOT:
    case ATOM_NOT_GROUP:
        return value->type == KFL_BOOL ? !value->boolean : value_truth(value);
    case ATOM_NEGATIVE:
        if (value->type == KFL_INT || value->type == KFL_FLOAT)
            return value->type == KFL_INT ? value->integer < 0 : value->number < 0;
        return value_truth(value);
    case ATOM_EQUAL:
        if (atom->numeric && (value->type == KFL_INT || value->type == KFL_FLOAT))
            return !number_compare(value_number(value), atom->number);
        return slice_equal(value_text(value, buffer), atom->text);
    case ATOM_REGEX:
        text = value_text(value, buffer);
        return kfl_regex_find(atom->regex, text.text, text.size);
    case ATOM_LESS:
    case ATOM_LESS_EQUAL:
    case ATOM_GREATER:
    case ATOM_GREATER_EQUAL:
        return ordered(atom, value_number(value));
    case ATOM_STARTS_WITH:
        return slice_starts_with(value_text(value, buffer), atom->text);
    case ATOM_ENDS_WITH:
        return slice_ends_with(value_text(value, buffer), atom->text);
    case ATOM_CONTAINS:
        return slice_contains(value_text(value, buffer), atom->text);
    case ATOM_GENERAL:
    case ATOM_OP_COUNT:
        break;
    }
    ensure(atom->op != ATOM_GENERAL); /* it has no value of its own */
    return false;
}

/* The same as atom_holds(), for the values that are most frequent. */
static inline bool holds_for_text(const struct atom *atom, const struct kfl_value *value)
{
    const char *constant = atom->text.text;
    size_t n = atom->text.size;

    switch ((enum atom_op)atom->op) {
    case ATOM_TRUTH:
        return value->size > 0;
    case ATOM_EQUAL:
        return value->size == n &&
               (!n || (*value->text == *constant && !memcmp(value->text, constant, n)));
    case ATOM_STARTS_WITH:
        return value->size >= n &&
               (!n || (*value->text == *constant && !memcmp(value->text, constant, n)));
    case ATOM_ENDS_WITH:
        return value->size >= n && (!n || (value->text[value->size - 1] == constant[n - 1] &&
                                           !memcmp(value->text + value->size - n, constant, n)));
    default:
        return atom_holds(atom, value);
    }
}

static inline bool holds_for_int(const struct atom *atom, const struct kfl_value *value)
{
    int64_t constant = atom->number.integer;

    if (atom->number.is_float || (atom->op == ATOM_EQUAL && !atom->numeric))
        return atom_holds(atom, value);
    switch ((enum atom_op)atom->op) {
    case ATOM_EQUAL:
        return value->integer == constant;
    case ATOM_LESS:
        return value->integer < constant;
    case ATOM_LESS_EQUAL:
        return value->integer <= constant;
    case ATOM_GREATER:
        return value->integer > constant;
    case ATOM_GREATER_EQUAL:
        return value->integer >= constant;
    default:
        return atom_holds(atom, value);
    }
}

void subject_absent(const struct atoms *atoms, const struct subject *subject,
                    const struct cells *cells)
{
    for (uint32_t i = 0; i < subject->n; i++)
        cells->cell[subject->atom[i]] = cell_of_may[atoms->atom[subject->atom[i]].absent];
}

void subject_unknown(const struct atoms *atoms, const struct subject *subject, bool may_miss,
                     const struct cells *cells)
{
    for (uint32_t i = 0; i < subject->n; i++)
        cells->cell[subject->atom[i]] =
            cell_of_may[atom_unknown(&atoms->atom[subject->atom[i]], may_miss)];
}

void subject_value(const struct atoms *atoms, const struct subject *subject,
                   const struct kfl_value *value, const struct cells *cells)
{
    bool scanned = false;

    for (uint32_t i = 0; i < subject->n; i++) {
        const struct atom *atom = &atoms->atom[subject->atom[i]];
        bool holds = false;

        if (!atom->scanned)
            holds = value->type == KFL_STRING ? holds_for_text(atom, value)
                    : value->type == KFL_INT  ? holds_for_int(atom, value)
                                              : atom_holds(atom, value);
        cells->cell[subject->atom[i]] = holds ? CELL_TRUE : CELL_FALSE;
    }
    if (!subject->patterns)
        return;
    if (cells->scratch && value->type == KFL_STRING)
        scanned = patterns_scan(subject->patterns, cells->scratch, value->text, value->size,
                                cells->cell, CELL_TRUE);
    for (uint32_t i = 0; i < subject->n && !scanned; i++) {
        const struct atom *atom = &atoms->atom[subject->atom[i]];

        if (atom->scanned && atom_holds(atom, value))
            cells->cell[subject->atom[i]] = CELL_TRUE;
    }
}

void subject_at_least(const struct atoms *atoms, const struct subject *subject, int64_t value,
                      const struct cells *cells)
{
    for (uint32_t i = 0; i < subject->n; i++)
        cells->cell[subject->atom[i]] = at_least(&atoms->atom[subject->atom[i]], value);
}

void subject_array(const struct atoms *atoms, const struct subject *subject, bool empty,
                   bool growing, const struct cells *cells)
{
    for (uint32_t i = 0; i < subject->n; i++) {
        const struct atom *atom = &atoms->atom[subject->atom[i]];

        if (atom->op <= ATOM_NEGATIVE && !empty)
            cells->cell[subject->atom[i]] = CELL_TRUE;
        else
            cells->cell[subject->atom[i]] = growing ? CELL_BOTH : CELL_FALSE;
    }
}

void subject_element(const struct atoms *atoms, const struct subject *subject,
                     const struct kfl_value *value, const struct cells *cells)
{
    for (uint32_t i = 0; i < subject->n; i++) {
        const struct atom *atom = &atoms->atom[subject->atom[i]];

        if (atom->op > ATOM_NEGATIVE && cells->cell[subject->atom[i]] != CELL_TRUE &&
            atom_holds(atom, value))
            cells->cell[subject->atom[i]] = CELL_TRUE;
    }
}

/* What is settled when a number is `value` or will be more. */
static uint8_t at_least(const struct atom *atom, int64_t value)
{
    struct kfl_number number = {.integer = value};
    bool holds;

    switch ((enum atom_op)atom->op) {
    case ATOM_TRUTH:
    case ATOM_NOT:
    case ATOM_NOT_GROUP:
        return value > 0 ? CELL_TRUE : CELL_BOTH;
    case ATOM_NEGATIVE:
        return value >= 0 ? CELL_FALSE : CELL_BOTH;
    case ATOM_EQUAL:
        return atom->numeric && number_compare(number, atom->number) == 1 ? CELL_FALSE : CELL_BOTH;
    case ATOM_LESS:
    case ATOM_LESS_EQUAL:
        holds = ordered(atom, number);
        return holds ? CELL_BOTH : CELL_FALSE;
    case ATOM_GREATER:
    case ATOM_GREATER_EQUAL:
        holds = ordered(atom, number);
        return holds ? CELL_TRUE : CELL_BOTH;
    default:
        return CELL_BOTH;
    }
}

static bool ordered(const struct atom *atom, struct kfl_number number)
{
    static const uint8_t op[ATOM_OP_COUNT] = {
        [ATOM_LESS] = AST_LT,
        [ATOM_LESS_EQUAL] = AST_LE,
        [ATOM_GREATER] = AST_GT,
        [ATOM_GREATER_EQUAL] = AST_GE,
    };

    return number_ordered(op[atom->op], number, atom->number);
}

/* `^/admin(/|$)` is found in texts only that begin with /admin. Nothing is said of patterns whose
 * beginning is not that plain: with flags or alternatives. */
static uint8_t prefix_size(struct kfl_slice pattern)
{
    size_t n = 1;

    if (!pattern.size || pattern.text[0] != '^')
        return 0;
    while (n < pattern.size && n < UINT8_MAX &&
           ((pattern.text[n] >= 'a' && pattern.text[n] <= 'z') ||
            (pattern.text[n] >= 'A' && pattern.text[n] <= 'Z') ||
            (pattern.text[n] >= '0' && pattern.text[n] <= '9') ||
            (pattern.text[n] && strchr("/_-=:,;@%&\"' ", pattern.text[n]))))
        n++;
    if (n < pattern.size && strchr("*?{+", pattern.text[n]))
        n--; /* of the last one there may be none */
    for (unsigned depth = 0; pattern.size; pattern.text++, pattern.size--) {
        if (*pattern.text == '(')
            depth++;
        else if (*pattern.text == ')' && depth)
            depth--;
        else if ((*pattern.text == '|' && !depth) || *pattern.text == '\\' || *pattern.text == '[')
            return 0; /* an alternative, or a place where these signs may mean themselves */
    }
    return (uint8_t)(n > 1 ? n - 1 : 0);
}

/* The `/` of `(/|$)`, if that is the pattern from there on. */
static char then_or_end(struct kfl_slice pattern, size_t at)
{
    const char *rest = pattern.text + at;

    return pattern.size == at + 5 && rest[0] == '(' && strchr("/_-=:,;@&", rest[1]) &&
                   !memcmp(rest + 2, "|$)", 3)
               ? rest[1]
               : 0;
}

static bool same_atom(const struct atom *a, const struct atom *b)
{
    if (a->op != b->op || a->numeric != b->numeric)
        return false;
    if (a->op >= ATOM_LESS && a->op <= ATOM_GREATER_EQUAL)
        return number_compare(a->number, b->number) == 0;
    return slice_equal(a->text, b->text);
}

/* A text that lives as long as the atoms do: that of a number is made here. */
static struct kfl_slice keep_text(struct atoms *atoms, const struct kfl_value *value)
{
    char buffer[VALUE_TEXT_MAX];
    struct kfl_slice text = value_text(value, buffer);

    if (text.text != buffer)
        return text;
    atoms->text =
        more(atoms, atoms->text, atoms->n_texts, &atoms->text_capacity, sizeof *atoms->text);
    if (atoms->no_memory)
        return (struct kfl_slice){"", 0};
    atoms->text[atoms->n_texts] = strndup(text.text, text.size);
    if (!atoms->text[atoms->n_texts])
        atoms->no_memory = true;
    return (struct kfl_slice){atoms->text[atoms->n_texts++], text.size};
}

/* Room for one more element behind n. */
static void *more(struct atoms *atoms, void *array, uint32_t n, uint32_t *capacity, size_t size)
{
    uint32_t wanted = *capacity ? *capacity * 2 : 8;
    void *bigger;

    if (n < *capacity)
        return array;
    bigger = reallocarray(array, wanted, size);
    if (!bigger) {
        atoms->no_memory = true;
        return array;
    }
    *capacity = wanted;
    return bigger;
}
