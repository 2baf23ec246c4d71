/* http1_head.c - start lines and headers of HTTP/1. */
#include "http1_head.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* A line of the head: its line feed, or null; its first colon, or null. */
struct line {
    const uint8_t *end, *colon;
};

static enum l7_probe empty_line(const uint8_t *at, const uint8_t *end);
static inline struct line line_at(const uint8_t *at, const uint8_t *end);
static const uint8_t *fields_parse(struct http1_head *head, const uint8_t *at, const uint8_t *end);
static bool start_line(struct http1_head *head, enum kfl_side side, const uint8_t *at,
                       const uint8_t *end);
static bool loose_line(struct http1_head *head, const uint8_t *at, const uint8_t *end);

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `METHOD target HTTP/1.x`, or that of HTTP/0.9 before an empty line: `GET /target` */
enum l7_probe http1_request_line(const uint8_t *data, size_t size)
{
    size_t n = 0, start = 0;
    const uint8_t *end;

    while (start < size && start < 4 && (data[start] == '\r' || data[start] == '\n'))
        start++;
    data += start;
    size -= start;
    while (n < size && n < 24 &&
           ((data[n] >= 'A' && data[n] <= 'Z') || data[n] == '-' || data[n] == '_' ||
            (n && data[n] >= 'a' && data[n] <= 'z')))
        n++;
    if (n == size)
        return n < 24 ? L7_PROBE_MORE : L7_PROBE_NO;
    if (n < 3 || data[n] != ' ')
        return L7_PROBE_NO;
    end = memchr(data, '\n', size);
    if (!end) {
        for (size_t i = n + 1; i < size; i++)
            if (data[i] < ' ' && data[i] != '\r')
                return L7_PROBE_NO;
        /* A long target: enough to be certain. */
        return size < 512 ? L7_PROBE_MORE : data[n + 1] == '/' ? L7_PROBE_YES : L7_PROBE_NO;
    }
    if (end > data && end[-1] == '\r')
        end--;
    if (n == 3 && !memcmp(data, "GET /", size < 5 ? size : 5) &&
        !memchr(data + 4, ' ', (size_t)(end - data - 4)))
        return empty_line(end, data + size);
    if (end - data < (ptrdiff_t)n + 11 || memcmp(end - 9, " HTTP/1.", 8) ||
        (end[-1] != '0' && end[-1] != '1'))
        return L7_PROBE_NO;
    return L7_PROBE_YES;
}

/* `HTTP/1.x 200` */
enum l7_probe http1_status_line(const uint8_t *data, size_t size)
{
    static const char pattern[] = "HTTP/1.x ddd";

    for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
        if (i == size)
            return L7_PROBE_MORE;
        if (pattern[i] == 'x'   ? data[i] != '0' && data[i] != '1'
            : pattern[i] == 'd' ? data[i] < '0' || data[i] > '9'
                                : data[i] != (uint8_t)pattern[i])
            return L7_PROBE_NO;
    }
    return L7_PROBE_YES;
}

bool http1_resembles(const uint8_t *data, size_t size)
{
    size_t n = size < 512 ? size : 512;

    return memmem(data, n, "HTTP/1", 6) || memmem(data, n, "\nHost:", 6);
}

enum http1_heads http1_head_parse(struct http1_head *head, enum kfl_side side, const uint8_t *data,
                                  size_t size, bool cut)
{
    const uint8_t *end = data + size, *line = memchr(data, '\n', size);

    if (!line)
        return HTTP1_HEAD_MORE;
    memset(head, 0, offsetof(struct http1_head, fields.field));
    head->known.content_length = -1;
    if (!start_line(head, side, data, line > data && line[-1] == '\r' ? line - 1 : line))
        return HTTP1_HEAD_NO_START;
    head->cut = cut;
    line = fields_parse(head, line + 1, end);
    if (!line)
        return HTTP1_HEAD_MORE;
    head->size = (uint32_t)(line - data);
    return HTTP1_HEAD_WHOLE;
}

bool http1_head_ends(const uint8_t *data, size_t from, size_t size)
{
    const uint8_t *at = data + from, *end = data + size;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        at++;
        if (at < end && (*at == '\n' || (*at == '\r' && at + 1 < end && at[1] == '\n')))
            return true;
    }
    return false;
}

/* Does an empty line follow this end of a line? */
static enum l7_probe empty_line(const uint8_t *at, const uint8_t *end)
{
    at += *at == '\r' ? 2 : 1;
    if (at < end && *at == '\r')
        at++;
    return at >= end ? L7_PROBE_MORE : *at == '\n' ? L7_PROBE_YES : L7_PROBE_NO;
}

static inline struct line line_at(const uint8_t *at, const uint8_t *end)
{
    struct line line = {NULL, NULL};

#ifdef __AVX2__
    for (; end - at >= 32; at += 32) {
        __m256i bytes = _mm256_loadu_si256((const void *)at);
        uint32_t ends =
            (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\n')));
        uint32_t colons =
            (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(':')));

        colons &= (ends - 1) & ~ends; /* before the line feed, if there is one */
        if (colons && !line.colon)
            line.colon = at + __builtin_ctz(colons);
        if (ends) {
            line.end = at + __builtin_ctz(ends);
            return line;
        }
    }
#endif
    line.end = memchr(at, '\n', (size_t)(end - at));
    if (line.end && !line.colon)
        line.colon = memchr(at, ':', (size_t)(line.end - at));
    return line;
}

/* -> behind the empty line, or where it is cut; null: not complete */
static const uint8_t *fields_parse(struct http1_head *head, const uint8_t *at, const uint8_t *end)
{
    struct http_fields *fields = &head->fields;

    for (;;) {
        const uint8_t *line_end, *next, *colon;
        struct http_field *field;
        struct line line;
        bool folded;

        if (at == end)
            return head->cut ? end : NULL;
        if (*at == '\n')
            return at + 1;
        if (*at == '\r' && at + 1 < end && at[1] == '\n')
            return at + 2;
        line = line_at(at, end);
        line_end = line.end;
        colon = line.colon;
        if (!line_end)
            return head->cut ? end : NULL;
        next = line_end + 1;
        folded = false;
        while (next < end && (*next == ' ' || *next == '\t')) { /* it was folded: one header */
            line_end = memchr(next, '\n', (size_t)(end - next));
            if (!line_end)
                return head->cut ? end : NULL;
            if (!colon)
                colon = memchr(next, ':', (size_t)(line_end - next));
            next = line_end + 1;
            folded = true;
        }
        if (line_end > at && line_end[-1] == '\r')
            line_end--;
        if (colon && fields->n < HTTP_FIELDS_MAX) {
            field = &fields->field[fields->n++];
            field->name = (struct http_text){at, (uint32_t)(colon - at)};
            colon++;
            while (colon < line_end && is_space(*colon))
                colon++;
            while (line_end > colon && is_space(line_end[-1]))
                line_end--;
            field->value = (struct http_text){colon, (uint32_t)(line_end - colon)};
            field->folded = folded;
            http_know(&head->known, field);
        }
        at = next;
    }
}

static bool start_line(struct http1_head *head, enum kfl_side side, const uint8_t *at,
                       const uint8_t *end)
{
    const uint8_t *space;

    if (side == KFL_SERVER) {
        if (end - at < 12 || http1_status_line(at, 12) != L7_PROBE_YES)
            return false;
        head->version_1_0 = at[7] == '0';
        head->status = (uint16_t)((at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0'));
        if (end - at > 13)
            head->reason = (struct http_text){at + 13, (uint32_t)(end - at - 13)};
        return true;
    }
    if (end - at < 14 || memcmp(end - 9, " HTTP/1.", 8) || (end[-1] != '0' && end[-1] != '1'))
        return loose_line(head, at, end);
    head->version_1_0 = end[-1] == '0';
    space = memchr(at, ' ', (size_t)(end - 9 - at));
    if (!space)
        return loose_line(head, at, end);
    head->method = (struct http_text){at, (uint32_t)(space - at)};
    head->target = (struct http_text){space + 1, (uint32_t)(end - 9 - space - 1)};
    return true;
}

/* A request line as some clients send it, and servers answer it: a known method, perhaps a target,
 * and whatever. */
static bool loose_line(struct http1_head *head, const uint8_t *at, const uint8_t *end)
{
    static const char *const methods[] = {
        "GET",   "HEAD",     "POST",      "PUT",    "DELETE", "CONNECT", "OPTIONS", "TRACE",
        "PATCH", "PROPFIND", "PROPPATCH", "MKCOL",  "COPY",   "MOVE",    "LOCK",    "UNLOCK",
        "LINK",  "UNLINK",   "REPORT",    "SEARCH", "NOTIFY", "CCM_POST"};
    const uint8_t *space = memchr(at, ' ', (size_t)(end - at)), *target, *second;

    if (!space)
        space = end;
    head->method = (struct http_text){at, (uint32_t)(space - at)};
    for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strlen(methods[i]) != head->method.size || memcmp(methods[i], at, head->method.size))
            continue;
        target = space < end ? space + 1 : end;
        second = memchr(target, ' ', (size_t)(end - target));
        head->version_none = !second;
        head->target = (struct http_text){target, (uint32_t)((second ? second : end) - target)};
        return true;
    }
    return false;
}
