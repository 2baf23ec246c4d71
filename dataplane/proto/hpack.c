#include "hpack.h"

#include <nghttp2/nghttp2.h>

#include "../cursor.h"

enum {
    TABLE_MAX = 64 << 10,
    TABLE_USUAL = 4096,  /* RFC 7541, 4.2 */
    ENTRY_OVERHEAD = 32, /* RFC 7541, 4.1 */
};

struct hpack {
    nghttp2_hd_inflater *inflater;
    nghttp2_mem mem; /* the inflater points to it */
};

static void fill(struct hpack *hpack);
static void *memory_take(size_t size, void *l7);
static void memory_give(void *memory, void *l7);
static void *memory_zeroed(size_t n, size_t size, void *l7);
static void *memory_resize(void *memory, size_t size, void *l7);
static bool field_add(struct hpack_fields *fields, const void *name, size_t name_size,
                      const void *value, size_t value_size);

struct hpack *hpack_create(struct l7 *l7, bool midstream)
{
    struct hpack *hpack = l7_memory(l7, sizeof(*hpack));

    if (!hpack)
        return NULL;
    hpack->mem = (nghttp2_mem){.mem_user_data = l7,
                               .malloc = memory_take,
                               .free = memory_give,
                               .calloc = memory_zeroed,
                               .realloc = memory_resize};
    if (nghttp2_hd_inflate_new2(&hpack->inflater, &hpack->mem)) {
        l7_memory_free(l7, hpack);
        return NULL;
    }
    if (midstream)
        fill(hpack);
    return hpack;
}

void hpack_free(struct l7 *l7, struct hpack *hpack)
{
    if (!hpack)
        return;
    nghttp2_hd_inflate_del(hpack->inflater);
    l7_memory_free(l7, hpack);
}

void hpack_table_size(struct hpack *hpack, uint32_t size)
{
    nghttp2_hd_inflate_change_table_size(hpack->inflater, size < TABLE_MAX ? size : TABLE_MAX);
}

enum hpack_block hpack_decode(struct hpack *hpack, const uint8_t *block, size_t size,
                              struct hpack_fields *fields)
{
    bool unknown = false;
    int flags = 0;

    fields->fields.n = 0;
    fields->fields.more = false;
    fields->text_size = 0;
    /* Each turn uses bytes or ends; an empty block ends at once. */
    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv;
        ssize_t used;

        flags = 0;
        used = nghttp2_hd_inflate_hd2(hpack->inflater, &nv, &flags, block, size, 1);
        if (used < 0)
            return HPACK_BROKEN;
        block += used;
        size -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT && !nv.namelen)
            unknown = true;
        else if (flags & NGHTTP2_HD_INFLATE_EMIT)
            field_add(fields, nv.name, nv.namelen, nv.value, nv.valuelen);
        else if (!used && !(flags & NGHTTP2_HD_INFLATE_FINAL))
            return HPACK_BROKEN;
    }
    nghttp2_hd_inflate_end_headers(hpack->inflater);
    return unknown ? HPACK_UNKNOWN : HPACK_WHOLE;
}

void hpack_save(struct l7 *l7, struct l7_text *text, const struct http_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct http_field *field = &fields->field[i];
        uint32_t sizes[2] = {field->name.size, field->value.size};

        l7_text_add(l7, text, sizes, sizeof(sizes));
        l7_text_add(l7, text, field->name.at, field->name.size);
        l7_text_add(l7, text, field->value.at, field->value.size);
    }
}

void hpack_load(const struct l7_text *text, struct hpack_fields *fields)
{
    struct cursor c = cursor_of(text->data, text->size);

    fields->fields.n = 0;
    fields->fields.more = false;
    fields->text_size = 0;
    while (cursor_left(&c)) {
        const uint8_t *sizes = cursor_bytes(&c, 2 * sizeof(uint32_t)), *name, *value;
        uint32_t size[2];

        if (!sizes)
            return; /* the text was cut here */
        memcpy(size, sizes, sizeof(size));
        name = cursor_bytes(&c, size[0]);
        value = cursor_bytes(&c, size[1]);
        if (!name || !value || !field_add(fields, name, size[0], value, size[1]))
            return;
    }
}

/* As many entries without name and value as a table of the usual size holds. */
static void fill(struct hpack *hpack)
{
    static const uint8_t entry[] = {0x40, 0, 0}; /* literal with indexing, new name */

    for (unsigned i = 0; i < TABLE_USUAL / ENTRY_OVERHEAD; i++) {
        size_t at = 0;
        int flags = 0;

        while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
            nghttp2_nv nv;
            ssize_t used;

            flags = 0;
            used = nghttp2_hd_inflate_hd2(hpack->inflater, &nv, &flags, entry + at,
                                          sizeof(entry) - at, 1);
            if (used < 0)
                return; /* no memory: fewer are known of */
            at += (size_t)used;
        }
        nghttp2_hd_inflate_end_headers(hpack->inflater);
    }
}

static bool field_add(struct hpack_fields *fields, const void *name, size_t name_size,
                      const void *value, size_t value_size)
{
    uint8_t *at = fields->text + fields->text_size;
    struct http_field *field;

    if (fields->fields.n == HTTP_FIELDS_MAX ||
        name_size + value_size > HPACK_TEXT_MAX - fields->text_size) {
        fields->fields.more = true;
        return false;
    }
    memcpy(at, name, name_size);
    memcpy(at + name_size, value, value_size);
    field = &fields->fields.field[fields->fields.n++];
    field->name = (struct http_text){at, (uint32_t)name_size};
    field->value = (struct http_text){at + name_size, (uint32_t)value_size};
    field->folded = false;
    fields->text_size += (uint32_t)(name_size + value_size);
    return true;
}

static void *memory_take(size_t size, void *l7)
{
    return l7_memory(l7, size);
}

static void memory_give(void *memory, void *l7)
{
    l7_memory_free(l7, memory);
}

static void *memory_zeroed(size_t n, size_t size, void *l7)
{
    void *memory = size && n > SIZE_MAX / size ? NULL : l7_memory(l7, n * size);

    if (memory)
        memset(memory, 0, n * size);
    return memory;
}

static void *memory_resize(void *memory, size_t size, void *l7)
{
    return l7_memory_resize(l7, memory, size);
}
