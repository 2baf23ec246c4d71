/* cmd_kfl.c - `tapedeck kfl`: the language without a recorder. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../kfl-jit/plan.h"
#include "command.h"
#include "show.h"

enum { LINE_MAX_SIZE = 256 << 20, READ_SIZE = 1 << 16 };
#define EVAL_ARENA_SIZE ((size_t)1 << 30) /* address space; pages come as they are used */

static int64_t now_ms(void);
static struct kfl_statement *create(const struct cli *cli, const char *text,
                                    struct kfl_messages *messages);
static int explain(const struct cli *cli, const struct kfl_plan_job *jobs, unsigned n);
static void explain_json(const struct kfl_plan_job *jobs, unsigned n, const char *plan,
                         const char *stages);
static json_t *message_json(const struct kfl_message *message);
static void check_json(const struct kfl_messages *messages, bool ok);
static size_t answer_lines(struct kfl_arena *arena, char *text, size_t size, bool last);
static bool is_blank(const char *text, size_t size);
static bool field_fits(const struct kfl_field_info *field, const char *pattern);
static void field_json(const struct kfl_field_info *field);
static const char *field_protocols(const struct kfl_field_info *field, char buffer[static 128]);

const struct option_row cmd_kfl_check_options[] = {OPTION_END};
const struct option_row cmd_kfl_eval_options[] = {OPTION_END};
static struct {
    bool stages;
} values;

const struct option_row cmd_kfl_explain_options[] = {
    OPTION_FLAG("stages", 0, values.stages,
                "also tokens, trees, programs (eBPF) and their machine code"),
    OPTION_END,
};
const struct option_row cmd_kfl_fields_options[] = {OPTION_END};

static const char *const type_name[] = {
    [KFL_TYPE_NULL] = "object or null",
    [KFL_TYPE_BOOL] = "bool",
    [KFL_TYPE_INT] = "int",
    [KFL_TYPE_FLOAT] = "float",
    [KFL_TYPE_STRING] = "string",
    [KFL_TYPE_STRINGS] = "string[]",
    [KFL_TYPE_INTS] = "int[]",
    [KFL_TYPE_ARRAY] = "object[]",
    [KFL_TYPE_OBJECT] = "object",
    [KFL_TYPE_MAP] = "map",
};
static const char *const stage_name[] = {
    [KFL_STAGE_PACKET] = "packet",   [KFL_STAGE_CONNECTION] = "connection",
    [KFL_STAGE_REQUEST] = "request", [KFL_STAGE_RESPONSE] = "response",
    [KFL_STAGE_END] = "end",
};

int cmd_kfl_check(const struct cli *cli)
{
    struct kfl_statement *statement;
    struct kfl_messages messages;

    statement = create(cli, cli->args[0], &messages);
    if (cli->json)
        check_json(&messages, statement != NULL);
    if (statement == NULL)
        return CLI_USAGE;
    if (!cli->json) {
        printf("ok\n");
        for (uint32_t i = 0; i < messages.n; i++)
            show_message(stdout, &messages.message[i], cli->args[0]);
        if (messages.more)
            printf("there are more warnings\n");
    }
    kfl_statement_free(statement);
    return CLI_DONE;
}

int cmd_kfl_eval(const struct cli *cli)
{
    struct kfl_arena *arena = kfl_arena_create(EVAL_ARENA_SIZE);
    size_t size = 0, capacity = READ_SIZE;
    char *text = malloc(capacity);
    ssize_t n = -1;

    if (arena == NULL || text == NULL)
        errno = ENOMEM;
    while (arena != NULL && text != NULL &&
           (n = read(STDIN_FILENO, text + size, capacity - size)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        size += (size_t)n;
        size -= answer_lines(arena, text, size, false);
        fflush(stdout);
        if (size == capacity) {
            char *larger = size >= LINE_MAX_SIZE ? NULL : realloc(text, capacity * 2);

            if (larger == NULL) {
                cli_error(cli, "a line of more than %zu bytes is too long", size);
                break;
            }
            text = larger;
            capacity *= 2;
        }
    }
    if (n == 0 && size > 0)
        answer_lines(arena, text, size, true);
    if (n < 0)
        cli_error(cli, "stdin: %s", strerror(errno));
    fflush(stdout);
    free(text);
    kfl_arena_free(arena);
    return n == 0 && !ferror(stdout) ? CLI_DONE : CLI_FAILED;
}

int cmd_kfl_explain(const struct cli *cli)
{
    struct kfl_statement *statement[KFL_SLOT_MAX] = {0};
    struct kfl_plan_job job[KFL_SLOT_MAX] = {0};
    int n = 0, result = CLI_DONE;

    if (cli->n_args > KFL_SLOT_MAX) {
        cli_error(cli, "a plan has at most %d statements", KFL_SLOT_MAX);
        return CLI_USAGE;
    }
    for (; n < cli->n_args; n++) {
        struct kfl_messages messages;

        statement[n] = create(cli, cli->args[n], &messages);
        if (statement[n] == NULL) {
            result = CLI_USAGE;
            break;
        }
        job[n] = (struct kfl_plan_job){.slot = (unsigned)n, .statement = statement[n]};
    }
    if (result == CLI_DONE)
        result = explain(cli, job, (unsigned)n);
    while (n-- > 0)
        kfl_statement_free(statement[n]);
    return result;
}

int cmd_kfl_fields(const struct cli *cli)
{
    int width = 0, n = 0;

    for (unsigned i = 1; i < KFL_FIELD_COUNT; i++)
        if (field_fits(&kfl_field_info[i], cli->args[0]) &&
            (int)strlen(kfl_field_info[i].path) > width)
            width = (int)strlen(kfl_field_info[i].path);
    for (unsigned i = 1; i < KFL_FIELD_COUNT; i++) {
        const struct kfl_field_info *field = &kfl_field_info[i];
        char protocols[128];

        if (!field_fits(field, cli->args[0]))
            continue;
        n++;
        if (cli->json)
            field_json(field);
        else
            printf("%-*s  %-14s  %-10s  %-10s  %s%s%s\n", width, field->path,
                   type_name[field->type], stage_name[field->stage],
                   field_protocols(field, protocols), field->help, *field->example ? "  e.g. " : "",
                   field->example);
    }
    if (n == 0) {
        cli_error(cli, "no field contains '%s'", cli->args[0]);
        return CLI_USAGE;
    }
    return CLI_DONE;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Null, having said why. */
static struct kfl_statement *create(const struct cli *cli, const char *text,
                                    struct kfl_messages *messages)
{
    struct kfl_statement *statement;
    int result = kfl_statement_create(text, strlen(text), now_ms(), &statement, messages);

    if (result == 0)
        return statement;
    if (messages->n == 0)
        cli_error(cli, "%s", strerror(-result));
    for (uint32_t i = 0; i < messages->n && !cli->json; i++)
        show_message(stderr, &messages->message[i], text);
    return NULL;
}

/* What becomes of all of them together, the grouping of each first. */
static int explain(const struct cli *cli, const struct kfl_plan_job *jobs, unsigned n)
{
    struct kfl_messages messages = {0};
    struct kfl_plan *plan;
    unsigned slot = 0;
    char *text, *stages;
    int result = kfl_plan_create(jobs, n, 1, false, &plan, &slot, &messages);

    if (result < 0) {
        if (messages.n == 0)
            cli_error(cli, "%s", strerror(-result));
        for (uint32_t i = 0; i < messages.n; i++)
            show_message(stderr, &messages.message[i], cli->args[slot]);
        return result == -EINVAL ? CLI_USAGE : CLI_FAILED;
    }
    text = kfl_plan_explain(plan);
    stages = values.stages ? kfl_plan_explain_stages(plan) : strdup("");
    result = text != NULL && stages != NULL ? CLI_DONE : CLI_FAILED;
    if (result == CLI_DONE && cli->json)
        explain_json(jobs, n, text, stages);
    else if (result == CLI_DONE)
        printf("%s%s", text, stages);
    free(text);
    free(stages);
    kfl_plan_free(plan);
    return result;
}

static void explain_json(const struct kfl_plan_job *jobs, unsigned n, const char *plan,
                         const char *stages)
{
    json_t *grouping = json_array(), *answer;

    for (unsigned i = 0; i < n; i++) {
        char *text = kfl_statement_show(jobs[i].statement);

        if (text != NULL)
            json_array_append_new(grouping, json_string(text));
        free(text);
    }
    answer = json_pack("{s:o,s:s}", "grouping", grouping, "plan", plan);
    if (*stages != 0)
        json_object_set_new(answer, "stages", json_string(stages));
    json_dumpf(answer, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(answer);
}

static json_t *message_json(const struct kfl_message *message)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:s}", "warning", (json_int_t)message->warning, "line",
                     (json_int_t)message->line, "column", (json_int_t)message->column, "offset",
                     (json_int_t)message->offset, "text", message->text);
}

static void check_json(const struct kfl_messages *messages, bool ok)
{
    json_t *errors = json_array(), *warnings = json_array();
    json_t *answer = json_pack("{s:b,s:o,s:o}", "ok", ok, "errors", errors, "warnings", warnings);

    for (uint32_t i = 0; i < messages->n; i++)
        json_array_append_new(messages->message[i].warning == 0 ? errors : warnings,
                              message_json(&messages->message[i]));
    json_dumpf(answer, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(answer);
}

/* Answers every whole line and moves the rest to the front. -> bytes that are done with. */
static size_t answer_lines(struct kfl_arena *arena, char *text, size_t size, bool last)
{
    size_t done = 0;

    while (done < size) {
        const char *line = text + done, *end = memchr(line, '\n', size - done);
        size_t length = end != NULL ? (size_t)(end - line) : size - done;
        const char *answer;

        if (end == NULL && !last)
            break;
        done += length + (end != NULL);
        if (is_blank(line, length))
            continue;
        kfl_arena_reset(arena);
        answer = kfl_answer(arena, line, length, now_ms());
        puts(answer != NULL ? answer
                            : "{\"truth\":false,\"error\":\"the line is too large\",\"limit\":0,"
                              "\"record\":null}");
    }
    memmove(text, text + done, size - done);
    return done;
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memchr(" \t\r\v\f", text[i], 5) == NULL)
            return false;
    return true;
}

static bool field_fits(const struct kfl_field_info *field, const char *pattern)
{
    return pattern == NULL || strcasestr(field->path, pattern) != NULL;
}

static void field_json(const struct kfl_field_info *field)
{
    json_t *protocols = json_array(), *row,
           *example = json_loads(field->example, JSON_DECODE_ANY, NULL);

    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
        if (field->protos & UINT32_C(1) << i)
            json_array_append_new(protocols, json_string(kfl_proto_info[i].abbr));
    row =
        json_pack("{s:s,s:s,s:s,s:o,s:s,s:o}", "path", field->path, "type", type_name[field->type],
                  "stage", stage_name[field->stage], "protocols", protocols, "help", field->help,
                  "example", example != NULL ? example : json_null());
    json_dumpf(row, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(row);
}

static const char *field_protocols(const struct kfl_field_info *field, char buffer[static 128])
{
    size_t n = 0;

    if (field->protos == 0)
        return "all";
    buffer[0] = 0;
    for (unsigned i = 0; i < KFL_PROTO_COUNT; i++)
        if (field->protos & UINT32_C(1) << i && n < 100)
            n += (size_t)snprintf(buffer + n, 128 - n, "%s%s", n > 0 ? "," : "",
                                  kfl_proto_info[i].abbr);
    return buffer;
}
