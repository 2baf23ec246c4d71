#include "tls_hello.h"

#include <stdio.h>

#include "../cursor.h"

enum { EXTENSION_SNI = 0, EXTENSION_ALPN = 16, EXTENSION_VERSIONS = 43 };

static const struct {
    uint16_t number;
    const char *name;
} suites[] = {
#define SUITE(number, name) {number, name},
#include "tls_suites.def"
#undef SUITE
};

static void write_suites(struct fact_tape *tape, enum kfl_field field, struct cursor list,
                         unsigned width);
static void write_alpn(struct fact_tape *tape, enum kfl_field field, struct cursor c);
static void write_sni(struct fact_tape *tape, enum kfl_field field, struct cursor c);
static uint16_t highest_version(struct cursor c, uint16_t version);

uint16_t tls_client_hello(struct fact_tape *tape, const struct tls_hello_fields *fields,
                          const uint8_t *body, size_t size)
{
    struct cursor c = cursor_of(body, size), list, extensions;
    uint16_t version = cursor_u16(&c);

    cursor_sub(&c, 32);            /* random */
    cursor_sub(&c, cursor_u8(&c)); /* session id */
    list = cursor_sub(&c, cursor_u16(&c));
    write_suites(tape, fields->suites, list, 2);
    cursor_sub(&c, cursor_u8(&c)); /* compression methods */
    cursor_u16(&c);
    extensions = cursor_of(c.at, cursor_left(&c));
    while (cursor_left(&extensions) >= 4) {
        uint16_t type = cursor_u16(&extensions), length = cursor_u16(&extensions);
        struct cursor data = cursor_sub(&extensions, length);

        if (data.short_)
            break;
        if (type == EXTENSION_SNI)
            write_sni(tape, fields->sni, data);
        else if (type == EXTENSION_ALPN)
            write_alpn(tape, fields->alpn, data);
        else if (type == EXTENSION_VERSIONS)
            version = highest_version(data, version);
    }
    if (fields->version)
        fact_text(tape, fields->version, tls_version_name(version));
    return version;
}

uint16_t tls_client_hello_v2(struct fact_tape *tape, const struct tls_hello_fields *fields,
                             const uint8_t *message, size_t size)
{
    struct cursor c = cursor_of(message + 1, size - 1);
    uint16_t version = cursor_u16(&c), suites_size = cursor_u16(&c);

    cursor_u32(&c); /* sizes of session id and challenge */
    write_suites(tape, fields->suites, cursor_sub(&c, suites_size), 3);
    fact_text(tape, fields->version, tls_version_name(version));
    return version;
}

uint32_t tls_is_hello_v2(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    uint16_t length = cursor_u16(&c) ^ 0x8000;
    uint8_t type = cursor_u8(&c);
    uint16_t version = cursor_u16(&c), suites_size = cursor_u16(&c), id_size = cursor_u16(&c);
    uint16_t challenge = cursor_u16(&c);

    if (c.short_ || length & 0x8000 || type != 1 || !*tls_version_name(version) || !suites_size ||
        suites_size % 3 || challenge < 16 || challenge > 32 ||
        length != 9 + suites_size + id_size + challenge)
        return 0;
    return 2u + length;
}

const char *tls_version_name(uint16_t version)
{
    switch (version) {
    case 0x0002:
        return "SSL 2.0";
    case 0x0300:
        return "SSL 3.0";
    case 0x0301:
        return "TLS 1.0";
    case 0x0302:
        return "TLS 1.1";
    case 0x0303:
        return "TLS 1.2";
    case 0x0304:
        return "TLS 1.3";
    default: /* 0x7f..: drafts of 1.3 */
        return version >> 8 == 0x7f ? "TLS 1.3" : "";
    }
}

const char *tls_version_number(uint16_t version)
{
    const char *name = tls_version_name(version);

    return *name ? name + 4 : name;
}

const char *tls_suite_name(uint16_t suite, char buffer[static 8])
{
    size_t low = 0, high = sizeof(suites) / sizeof(*suites);

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (suites[middle].number == suite)
            return suites[middle].name;
        if (suites[middle].number < suite)
            low = middle + 1;
        else
            high = middle;
    }
    snprintf(buffer, 8, "0x%04x", suite);
    return buffer;
}

bool tls_is_grease(uint16_t value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

/* A suite is the last two bytes of `width`: of three, SSL 2.0 has others with another first. */
static void write_suites(struct fact_tape *tape, enum kfl_field field, struct cursor list,
                         unsigned width)
{
    char number[8];

    if (!field || !fact_wanted(tape, field))
        return;
    fact_array(tape, field);
    while (cursor_left(&list) >= width) {
        bool other = width == 3 && cursor_u8(&list);
        uint16_t suite = cursor_u16(&list);

        if (!other && !tls_is_grease(suite))
            fact_text(tape, KFL_FIELD_NONE, tls_suite_name(suite, number));
    }
    fact_end(tape);
}

static void write_alpn(struct fact_tape *tape, enum kfl_field field, struct cursor c)
{
    struct cursor list = cursor_sub(&c, cursor_u16(&c));

    if (!field)
        return;
    fact_array(tape, field);
    while (cursor_left(&list)) {
        struct cursor name = cursor_sub(&list, cursor_u8(&list));

        if (name.short_)
            break;
        fact_string(tape, KFL_FIELD_NONE, name.at, cursor_left(&name));
    }
    fact_end(tape);
}

static void write_sni(struct fact_tape *tape, enum kfl_field field, struct cursor c)
{
    struct cursor list = cursor_sub(&c, cursor_u16(&c));

    while (field && cursor_left(&list) >= 3) {
        uint8_t type = cursor_u8(&list);
        struct cursor name = cursor_sub(&list, cursor_u16(&list));

        if (type == 0 && !name.short_) {
            fact_string(tape, field, name.at, cursor_left(&name));
            return;
        }
    }
}

static uint16_t highest_version(struct cursor c, uint16_t version)
{
    struct cursor list = cursor_sub(&c, cursor_u8(&c));

    while (cursor_left(&list) >= 2) {
        uint16_t offered = cursor_u16(&list);

        if (!tls_is_grease(offered) && *tls_version_name(offered) && offered > version)
            version = offered;
    }
    return version;
}
