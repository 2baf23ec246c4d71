#include "conf.h"

#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kfl-jit/ensure.h"
#include "conf_row.h"
#include "options.h"
#include "units.h"

#define CONF(g, k, t, member, d, lo, hi, l, h) \
    {#g, #k, CONF_TYPE_##t, offsetof(struct CONF_STRUCT, member), d, lo, hi, l, h},
#define CONF_STRUCT conf
const struct conf_row conf_rows[] = {
#include "conf.def"
};
#undef CONF_STRUCT
#define CONF_STRUCT conf_source
const struct conf_row conf_source_rows[] = {
#include "conf_source.def"
};
#undef CONF_STRUCT
#define CONF_STRUCT conf_job
const struct conf_row conf_job_rows[] = {
#include "conf_job.def"
};
#undef CONF_STRUCT
#undef CONF
const unsigned conf_n_rows = sizeof(conf_rows) / sizeof(conf_rows[0]);
const unsigned conf_n_source_rows = sizeof(conf_source_rows) / sizeof(conf_source_rows[0]);
const unsigned conf_n_job_rows = sizeof(conf_job_rows) / sizeof(conf_job_rows[0]);

enum { NAMES_MAX = 128, WORD_SIZE = 256 };

struct texts { /* everything a conf points to */
    char **text;
    size_t n, capacity;
};

struct reader {
    struct conf *conf;
    const char *path;
    bool as_job; /* keys have no group */
    char *reterr_text;
};

/* One value on its way in: from the file, or the default's text. */
struct input {
    const config_setting_t *setting; /* null: text is the default */
    const char *text;                /* null: it is no string */
    const struct conf_row *row;
    void *place;
};

static struct conf *conf_new(const char *path);
static int set_initial(struct reader *reader, const struct conf_row *rows, unsigned n, void *base);
static int read_root(struct reader *reader, config_setting_t *root);
static int read_group(struct reader *reader, config_setting_t *group);
static int read_list(struct reader *reader, config_setting_t *list, bool is_jobs);
static int read_element(struct reader *reader, config_setting_t *group, const struct conf_row *rows,
                        unsigned n, const char *what, void *base);
static int read_value(struct reader *reader, const struct input *input);
static int read_number(struct reader *reader, const struct input *input);
static int read_choice(struct reader *reader, const struct input *input);
static int read_texts(struct reader *reader, const struct input *input);
static int read_cpus(struct reader *reader, const struct input *input);
static int check_source(struct reader *reader, config_setting_t *setting,
                        const struct conf_source *source);
static int unknown(struct reader *reader, const config_setting_t *setting, const char *what,
                   const char *const *words, unsigned n);
static int wrong(struct reader *reader, const struct input *input, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int refuse(struct reader *reader, const config_setting_t *setting, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static const char *keep(struct conf *conf, const char *text);
static bool is_choice(const struct conf_row *row, const char *word);

/* path null: no file. as_job: the file's top level is one job. */
static int read_file(const char *path, bool as_job, struct conf **ret_conf, char *reterr_text)
{
    struct reader reader = {.path = path, .as_job = as_job, .reterr_text = reterr_text};
    config_t file;
    int err;

    config_init(&file);
    reader.conf = conf_new(path);
    err = set_initial(&reader, conf_rows, conf_n_rows, reader.conf);
    ensure(!err); /* a default that is refused is a mistake in conf.def */
    if (path)
        err = conf_check_numbers(path, reterr_text);
    if (path && !err) {
        char folder[PATH_MAX];
        char *slash;

        snprintf(folder, sizeof(folder), "%s", path);
        slash = strrchr(folder, '/');
        if (slash)
            *slash = 0;
        config_set_include_dir(&file, slash ? folder : ".");
        if (!config_read_file(&file, path)) {
            err = -EINVAL;
            snprintf(reterr_text, CONF_ERROR_SIZE, "%.400s:%d: %s",
                     config_error_file(&file) ? config_error_file(&file) : path,
                     config_error_line(&file), config_error_text(&file));
        } else if (as_job) {
            reader.conf->jobs = calloc(1, sizeof(reader.conf->jobs[0]));
            ensure(reader.conf->jobs);
            reader.conf->n_jobs = 1;
            err = read_element(&reader, config_root_setting(&file), conf_job_rows, conf_n_job_rows,
                               "", reader.conf->jobs);
        } else {
            err = read_root(&reader, config_root_setting(&file));
        }
    }
    config_destroy(&file);
    if (err) {
        conf_free(reader.conf);
        return err;
    }
    *ret_conf = reader.conf;
    return 0;
}

int conf_read(const char *path, struct conf **ret_conf, char reterr_text[static CONF_ERROR_SIZE])
{
    return read_file(path, false, ret_conf, reterr_text);
}

int conf_read_job(const char *path, struct conf **ret_conf,
                  char reterr_text[static CONF_ERROR_SIZE])
{
    return read_file(path, true, ret_conf, reterr_text);
}

void conf_free(struct conf *conf)
{
    struct texts *texts;

    if (!conf)
        return;
    texts = conf->texts;
    for (size_t i = 0; i < texts->n; i++)
        free(texts->text[i]);
    free(texts->text);
    free(texts);
    free(conf->jobs);
    free(conf);
}

struct conf_job conf_job_initial(void)
{
    struct conf_job job = {
        .name = "", .kfl = "", .start = "", .until = "", .on_quota = "stop", .on_error = "storage"};

    job.iterations = 1;
    job.duration = 60 * NS_PER_MIN;
    job.expiration = NS_PER_DAY;
    return job;
}

static struct conf *conf_new(const char *path)
{
    struct conf *conf = calloc(1, sizeof(*conf));

    ensure(conf);
    conf->texts = calloc(1, sizeof(struct texts));
    ensure(conf->texts);
    conf->path = path ? keep(conf, path) : NULL;
    return conf;
}

static int set_initial(struct reader *reader, const struct conf_row *rows, unsigned n, void *base)
{
    for (unsigned i = 0; i < n; i++) {
        struct input input = {
            .text = rows[i].initial, .row = &rows[i], .place = (char *)base + rows[i].offset};
        int err = read_value(reader, &input);

        if (err)
            return err;
    }
    return 0;
}

static int read_root(struct reader *reader, config_setting_t *root)
{
    const char *words[NAMES_MAX] = {"sources", "jobs"};
    unsigned n = 2;

    for (unsigned i = 0; i < conf_n_rows; i++)
        if (!i || strcmp(conf_rows[i].group, conf_rows[i - 1].group))
            words[n++] = conf_rows[i].group;
    for (int i = 0; i < config_setting_length(root); i++) {
        config_setting_t *group = config_setting_get_elem(root, (unsigned)i);
        const char *name = config_setting_name(group);
        bool known = false;
        int err;

        for (unsigned w = 0; w < n; w++)
            known |= !strcmp(words[w], name);
        if (!known)
            return unknown(reader, group, "", words, n);
        if (!strcmp(name, "sources") || !strcmp(name, "jobs"))
            err = read_list(reader, group, !strcmp(name, "jobs"));
        else
            err = read_group(reader, group);
        if (err)
            return err;
    }
    return 0;
}

static int read_group(struct reader *reader, config_setting_t *group)
{
    const char *name = config_setting_name(group);
    unsigned first = 0, end;

    while (strcmp(conf_rows[first].group, name))
        first++;
    for (end = first; end < conf_n_rows && !strcmp(conf_rows[end].group, name); end++)
        ;
    if (!config_setting_is_group(group))
        return refuse(reader, group, "%s: must be a group: %s: { key = value; };", name, name);
    return read_element(reader, group, conf_rows + first, end - first, name, reader->conf);
}

static int read_list(struct reader *reader, config_setting_t *list, bool is_jobs)
{
    struct conf *conf = reader->conf;
    const char *name = config_setting_name(list);
    int n = config_setting_length(list);
    int max = is_jobs ? CONF_JOBS_MAX : CONF_SOURCES_MAX;

    if (!config_setting_is_list(list))
        return refuse(reader, list, "%s: must be a list of groups: %s = ( { ... }, { ... } );",
                      name, name);
    if (n > max)
        return refuse(reader, list, "%s: %d elements: must be at most %d", name, n, max);
    if (is_jobs) {
        conf->jobs = calloc((size_t)n + 1, sizeof(conf->jobs[0]));
        ensure(conf->jobs);
    }
    for (int i = 0; i < n; i++) {
        config_setting_t *element = config_setting_get_elem(list, (unsigned)i);
        char what[32];
        int err;

        snprintf(what, sizeof(what), "%s[%d]", name, i);
        if (!config_setting_is_group(element))
            return refuse(reader, element, "%s: must be a group: { key = value; }", what);
        if (is_jobs) {
            err = read_element(reader, element, conf_job_rows, conf_n_job_rows, what,
                               &conf->jobs[conf->n_jobs++]);
        } else {
            err = read_element(reader, element, conf_source_rows, conf_n_source_rows, what,
                               &conf->sources[conf->n_sources]);
            if (!err)
                err = check_source(reader, element, &conf->sources[conf->n_sources++]);
        }
        if (err)
            return err;
    }
    return 0;
}

/* The defaults, then what is written in the group. */
static int read_element(struct reader *reader, config_setting_t *group, const struct conf_row *rows,
                        unsigned n, const char *what, void *base)
{
    const char *words[NAMES_MAX];
    int err = set_initial(reader, rows, n, base);

    ensure(!err);
    for (unsigned r = 0; r < n; r++)
        words[r] = rows[r].key;
    for (int i = 0; i < config_setting_length(group); i++) {
        config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        struct input input = {.setting = setting};

        for (unsigned r = 0; r < n; r++)
            if (!strcmp(rows[r].key, config_setting_name(setting)))
                input.row = &rows[r];
        if (!input.row)
            return unknown(reader, setting, what, words, n);
        input.text = config_setting_get_string(setting);
        input.place = (char *)base + input.row->offset;
        err = read_value(reader, &input);
        if (err)
            return err;
    }
    return 0;
}

static int read_value(struct reader *reader, const struct input *input)
{
    switch (input->row->type) {
    case CONF_TYPE_SIZE:
    case CONF_TYPE_DURATION:
    case CONF_TYPE_MINUTES:
    case CONF_TYPE_INT:
        return read_number(reader, input);
    case CONF_TYPE_BOOL:
        if (!input->setting)
            *(bool *)input->place = !strcmp(input->text, "true");
        else if (config_setting_type(input->setting) != CONFIG_TYPE_BOOL)
            return wrong(reader, input, "must be true or false");
        else
            *(bool *)input->place = config_setting_get_bool(input->setting);
        return 0;
    case CONF_TYPE_TEXT:
        if (!input->text)
            return wrong(reader, input, "must be a text: \"...\"");
        if (strlen(input->text) < (size_t)input->row->min)
            return wrong(reader, input, "must not be empty");
        *(const char **)input->place = keep(reader->conf, input->text);
        return 0;
    case CONF_TYPE_CHOICE:
        return read_choice(reader, input);
    case CONF_TYPE_TEXTS:
        return read_texts(reader, input);
    case CONF_TYPE_CPUS:
        return read_cpus(reader, input);
    }
    return -EINVAL;
}

static int read_number(struct reader *reader, const struct input *input)
{
    const struct conf_row *row = input->row;
    const char *help = units_size_help;
    int64_t number = 0;
    uint64_t value = 0;
    char limits[160];
    int err = 0;

    if (row->type == CONF_TYPE_DURATION)
        help = units_duration_help;
    else if (row->type == CONF_TYPE_MINUTES)
        help = "minutes as a number, or a duration with a unit: 90, \"1h30m\"";
    else if (row->type == CONF_TYPE_INT)
        help = "must be a number";
    if (input->setting && config_setting_is_number(input->setting)) {
        if (config_setting_type(input->setting) == CONFIG_TYPE_FLOAT)
            return wrong(reader, input, "must be a whole number, or a text with a unit");
        number = config_setting_get_int64(input->setting);
        if (row->type == CONF_TYPE_DURATION && number)
            return wrong(reader, input, "%s", help);
        if (row->type == CONF_TYPE_MINUTES &&
            __builtin_mul_overflow(number, (int64_t)NS_PER_MIN, &number))
            return wrong(reader, input, "too large");
    } else if (input->text && (row->type != CONF_TYPE_INT || !input->setting)) {
        if (row->type == CONF_TYPE_SIZE || row->type == CONF_TYPE_INT)
            err = units_parse_size(input->text, &value);
        else
            err = units_parse_duration(input->text, row->type == CONF_TYPE_MINUTES ? NS_PER_MIN : 0,
                                       &value);
        if (err || value > INT64_MAX)
            return wrong(reader, input, "%s", help);
        number = (int64_t)value;
    } else {
        return wrong(reader, input, "%s", help);
    }
    if (number < row->min || number > row->max) {
        conf_row_show_limits(row, limits, sizeof(limits));
        return wrong(reader, input, "%s", limits);
    }
    *(int64_t *)input->place = number; /* the unsigned types hold the same bits */
    return 0;
}

static int read_choice(struct reader *reader, const struct input *input)
{
    if (!input->text || !is_choice(input->row, input->text))
        return wrong(reader, input, "must be one of %.*s", (int)strcspn(input->row->help, "]") + 1,
                     input->row->help);
    *(const char **)input->place = keep(reader->conf, input->text);
    return 0;
}

static int read_texts(struct reader *reader, const struct input *input)
{
    struct conf_texts *texts = input->place;

    texts->n = 0;
    if (!input->setting)
        return 0; /* the default of a list is the empty one */
    if (!config_setting_is_array(input->setting) && !config_setting_is_list(input->setting))
        return wrong(reader, input, "must be a list of texts: [ \"...\", \"...\" ]");
    if (config_setting_length(input->setting) > CONF_LIST_MAX)
        return wrong(reader, input, "must have at most %d elements", CONF_LIST_MAX);
    for (int i = 0; i < config_setting_length(input->setting); i++) {
        const char *text = config_setting_get_string_elem(input->setting, i);

        if (!text)
            return wrong(reader, input, "element %d must be a text", i);
        if (!is_choice(input->row, text))
            return wrong(reader, input, "\"%.80s\" must be one of %.*s", text,
                         (int)strcspn(input->row->help, "]") + 1, input->row->help);
        texts->text[texts->n++] = keep(reader->conf, text);
    }
    return 0;
}

static int read_cpus(struct reader *reader, const struct input *input)
{
    const struct conf_row *row = input->row;
    struct conf_cpus *cpus = input->place;
    bool is_list = input->setting && (config_setting_is_array(input->setting) ||
                                      config_setting_is_list(input->setting));
    long n = 0;

    if (!input->setting)
        n = strtol(input->text, NULL, 10);
    else if (is_list)
        n = config_setting_length(input->setting);
    else if (config_setting_type(input->setting) == CONFIG_TYPE_INT)
        n = config_setting_get_int(input->setting);
    else
        return wrong(reader, input, "must be a number of threads, or a list of CPUs: 2, [2, 3]");
    if (n < row->min || n > row->max)
        return wrong(reader, input, "%ld threads: must be from %lld to %lld", n,
                     (long long)row->min, (long long)row->max);
    cpus->n = (unsigned)n;
    for (int i = 0; i < n; i++) {
        const config_setting_t *cpu =
            is_list ? config_setting_get_elem(input->setting, (unsigned)i) : NULL;

        cpus->cpu[i] = -1;
        if (!cpu)
            continue;
        cpus->cpu[i] = config_setting_get_int(cpu);
        if (config_setting_type(cpu) != CONFIG_TYPE_INT || cpus->cpu[i] < 0 ||
            cpus->cpu[i] >= sysconf(_SC_NPROCESSORS_CONF))
            return wrong(reader, input, "there is no CPU %d: they are 0 to %ld", cpus->cpu[i],
                         sysconf(_SC_NPROCESSORS_CONF) - 1);
    }
    return 0;
}

static int check_source(struct reader *reader, config_setting_t *setting,
                        const struct conf_source *source)
{
    const char *type = source->type;
    bool is_dpdk = !strcmp(type, "dpdk");

    if (is_dpdk && !*source->device)
        return refuse(reader, setting,
                      "a source of type dpdk needs `device`: a PCI address or a vdev with its "
                      "arguments");
    if (!is_dpdk && !*source->interface)
        return refuse(reader, setting, "a source of type %s needs `interface`: %s", type,
                      !strcmp(type, "file") ? "the path of a capture file"
                                            : "the interface's name");
    return 0;
}

static int unknown(struct reader *reader, const config_setting_t *setting, const char *what,
                   const char *const *words, unsigned n)
{
    const char *name = config_setting_name(setting);
    const char *nearest = options_nearest(name, words, n);
    char all[512] = "";
    size_t used = 0;

    if (nearest)
        return refuse(reader, setting, "%s%s%.80s: unknown key: did you mean %s?", what,
                      *what ? "." : "", name, nearest);
    for (unsigned i = 0; i < n && used < sizeof(all); i++)
        used += (size_t)snprintf(all + used, sizeof(all) - used, " %s", words[i]);
    return refuse(reader, setting, "%s%s%.80s: unknown key: there are%s", what, *what ? "." : "",
                  name, all);
}

/* "FILE:LINE: group.key = value: what is wrong" */
static int wrong(struct reader *reader, const struct input *input, const char *format, ...)
{
    const config_setting_t *setting = input->setting;
    char why[512], value[96] = "...";
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    if (!setting)
        snprintf(value, sizeof(value), "%s", input->text);
    else if (input->text)
        snprintf(value, sizeof(value), "\"%.80s\"", input->text);
    else if (config_setting_type(setting) == CONFIG_TYPE_FLOAT)
        snprintf(value, sizeof(value), "%g", config_setting_get_float(setting));
    else if (config_setting_is_number(setting))
        snprintf(value, sizeof(value), "%lld", (long long)config_setting_get_int64(setting));
    else if (config_setting_type(setting) == CONFIG_TYPE_BOOL)
        snprintf(value, sizeof(value), "%s", config_setting_get_bool(setting) ? "true" : "false");
    return refuse(reader, setting, "%s%s%s = %s: %s", reader->as_job ? "" : input->row->group,
                  reader->as_job ? "" : ".", input->row->key, value, why);
}

static int refuse(struct reader *reader, const config_setting_t *setting, const char *format, ...)
{
    const char *file = setting ? config_setting_source_file(setting) : NULL;
    unsigned line = setting ? config_setting_source_line(setting) : 0;
    char why[768];
    va_list args;

    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    snprintf(reader->reterr_text, CONF_ERROR_SIZE, "%.200s:%u: %s", file ? file : reader->path,
             line, why);
    return -EINVAL;
}

static const char *keep(struct conf *conf, const char *text)
{
    struct texts *texts = conf->texts;
    char *copy = strdup(text);

    if (texts->n == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 64;
        texts->text = realloc(texts->text, texts->capacity * sizeof(texts->text[0]));
    }
    ensure(copy && texts->text);
    texts->text[texts->n++] = copy;
    return copy;
}

/* Rows whose help does not begin with "[words]" take any text. */
static bool is_choice(const struct conf_row *row, const char *word)
{
    size_t size = strlen(word);
    const char *at = row->help;

    if (*at != '[')
        return true;
    while (*at != ']') {
        size_t n = strcspn(++at, " ]");

        if (n == size && !memcmp(at, word, n))
            return true;
        at += n;
    }
    return false;
}
