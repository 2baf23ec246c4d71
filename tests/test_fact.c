#include "../kfl-jit/fact.h"

#include <string.h>

#include "../kfl-jit/plan.h"
#include "tap.h"

static uint8_t buffer[1 << 16] __attribute__((aligned(8)));

static struct fact_tape begin_tape(uint32_t capacity, const struct kfl_demand *demand)
{
    struct fact_tape tape;

    fact_tape_init(&tape, buffer, capacity, demand);
    return tape;
}

static bool text_is(const struct fact *node, const char *text)
{
    return node->type == FACT_STRING && node->value_size == strlen(text) &&
           memcmp(fact_value_of(node), text, node->value_size) == 0;
}

static const struct fact *child(const struct fact *node, unsigned n)
{
    FACT_EACH(each, fact_value_of(node), node->value_size)
    if (n-- == 0)
        return each;
    return NULL;
}

static unsigned n_children(const struct fact *node)
{
    unsigned n = 0;

    FACT_EACH(each, fact_value_of(node), node->value_size)
    n++;
    return n;
}

static const struct fact *first(const struct fact_tape *tape)
{
    return (const struct fact *)tape->base;
}

static void values_come_back(void)
{
    struct fact_tape tape = begin_tape(sizeof(buffer), &kfl_demand_all);
    unsigned n = 0;

    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, "GET");
    fact_int(&tape, KFL_FIELD_HTTP_RESPONSE_STATUS, -5);
    fact_float(&tape, KFL_FIELD_HTTP_RESPONSE_STATUS, 0.5);
    fact_bool(&tape, KFL_FIELD_TLS, true);
    fact_null(&tape, KFL_FIELD_ERROR);
    fact_base64(&tape, KFL_FIELD_HTTP_REQUEST_BODY, "hello", 5);
    fact_hex(&tape, KFL_FIELD_HTTP_REQUEST_BODY, "\x0f\xa0", 2);
    FACT_EACH(node, tape.base, tape.size)
    {
        static const uint8_t type[] = {FACT_STRING, FACT_INT,    FACT_FLOAT, FACT_BOOL,
                                       FACT_NULL,   FACT_STRING, FACT_STRING};

        CU_ASSERT_EQUAL_FATAL(node->type, type[n]);
        if (n == 0)
            CU_ASSERT(text_is(node, "GET") && node->field == KFL_FIELD_HTTP_REQUEST_METHOD);
        if (n == 1)
            CU_ASSERT_EQUAL(fact_int_of(node), -5);
        if (n == 2)
            CU_ASSERT_EQUAL(fact_float_of(node), 0.5);
        if (n == 3)
            CU_ASSERT_EQUAL(node->bool_value, 1);
        if (n == 5)
            CU_ASSERT(text_is(node, "aGVsbG8="));
        if (n == 6)
            CU_ASSERT(text_is(node, "0fa0"));
        n++;
    }
    CU_ASSERT_EQUAL(n, 7);
    CU_ASSERT_FALSE(tape.cut);
}

static void containers_hold_their_children(void)
{
    struct fact_tape tape = begin_tape(sizeof(buffer), &kfl_demand_all);
    const struct fact *array, *object;

    fact_array(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS);
    for (int i = 0; i < 2; i++) {
        fact_object(&tape, KFL_FIELD_NONE);
        fact_text(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS_NAME, i == 0 ? "a.b" : "c");
        fact_end(&tape);
    }
    fact_end(&tape);
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, "after");
    CU_ASSERT_EQUAL(tape.depth, 0);
    array = first(&tape);
    CU_ASSERT_EQUAL_FATAL(n_children(array), 2);
    object = child(array, 1);
    CU_ASSERT_EQUAL(object->type, FACT_OBJECT);
    CU_ASSERT(text_is(child(object, 0), "c"));
    CU_ASSERT_EQUAL(array->size + sizeof(struct fact) + 8, tape.size);
}

static void members_that_come_again_are_joined(void)
{
    struct fact_tape tape = begin_tape(sizeof(buffer), &kfl_demand_all);
    const struct fact *map;

    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
    fact_member_joined(&tape, "Accept", 6, "text/html", 9);
    fact_member_joined(&tape, "Host", 4, "db", 2);
    fact_member_joined(&tape, "Accept", 6, "b", 1);
    fact_member_joined(&tape, "Accept", 6, "", 0);
    fact_member_joined(&tape, "Accept", 6, "\xff", 1);
    fact_end(&tape);
    map = first(&tape);
    CU_ASSERT_EQUAL_FATAL(n_children(map), 2);
    CU_ASSERT(text_is(child(map, 0), "text/html,b,,\xef\xbf\xbd"));
    CU_ASSERT_EQUAL(memcmp(fact_key_of(child(map, 1)), "Host", 4), 0);
    CU_ASSERT(text_is(child(map, 1), "db"));
    CU_ASSERT_EQUAL(map->size, tape.size);
}

static void members_that_come_again_are_collected(void)
{
    struct fact_tape tape = begin_tape(sizeof(buffer), &kfl_demand_all);
    const struct fact *map, *tags;

    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_QUERY_STRING);
    fact_member_collected(&tape, "tag", 3, "a", 1);
    fact_member_collected(&tape, "n", 1, "42", 2);
    fact_member_collected(&tape, "tag", 3, "a long value", 12);
    fact_member_collected(&tape, "tag", 3, "", 0);
    fact_end(&tape);
    map = first(&tape);
    CU_ASSERT_EQUAL_FATAL(n_children(map), 2);
    tags = child(map, 0);
    CU_ASSERT_EQUAL_FATAL(tags->type, FACT_ARRAY);
    CU_ASSERT_EQUAL_FATAL(n_children(tags), 3);
    CU_ASSERT(text_is(child(tags, 0), "a"));
    CU_ASSERT(text_is(child(tags, 1), "a long value"));
    CU_ASSERT(text_is(child(tags, 2), ""));
    CU_ASSERT(text_is(child(map, 1), "42"));
}

static void bytes_that_are_not_utf8_are_replaced(void)
{
    static const struct {
        const char *in, *out;
    } row[] = {
        {"a\xc3\xa9z", "a\xc3\xa9z"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xc3(", "\xef\xbf\xbd("},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };

    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct fact_tape tape = begin_tape(sizeof(buffer), &kfl_demand_all);

        fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, row[i].in);
        CU_ASSERT(text_is(first(&tape), row[i].out));
    }
}

static void what_is_not_demanded_is_not_written(void)
{
    static struct kfl_demand demand;
    struct kfl_demand_key key = {KFL_FIELD_HTTP_REQUEST_HEADERS, 4, "Host"};
    struct fact_tape tape;

    demand.field[KFL_FIELD_HTTP_REQUEST_HEADERS] = 1;
    demand.field[KFL_FIELD_HTTP_RESPONSE_STATUS] = 2;
    demand.keys = &key;
    demand.n_keys = 1;
    demand.key_sizes[KFL_FIELD_HTTP_REQUEST_HEADERS] = 1 << 4;
    tape = begin_tape(sizeof(buffer), &demand);
    fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, "GET");
    fact_array(&tape, KFL_FIELD_DNS_REQUEST_QUESTIONS);
    fact_object(&tape, KFL_FIELD_NONE);
    fact_int(&tape, KFL_FIELD_HTTP_RESPONSE_STATUS, 1);
    fact_end(&tape);
    fact_end(&tape);
    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
    CU_ASSERT_FALSE(fact_wanted_key(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS, "Accept", 6));
    CU_ASSERT_TRUE(fact_wanted_key(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS, "Host", 4));
    fact_member_joined(&tape, "Host", 4, "db", 2);
    fact_key(&tape, "Etag", 4);
    fact_text(&tape, KFL_FIELD_NONE, "x");
    fact_key(&tape, "Deep", 4);
    fact_array(&tape, KFL_FIELD_NONE);
    fact_text(&tape, KFL_FIELD_NONE, "x");
    fact_end(&tape);
    fact_end(&tape);
    fact_int(&tape, KFL_FIELD_HTTP_RESPONSE_STATUS, 500);
    CU_ASSERT_EQUAL_FATAL(first(&tape)->field, KFL_FIELD_HTTP_REQUEST_HEADERS);
    CU_ASSERT_EQUAL(n_children(first(&tape)), 1);
    CU_ASSERT(text_is(child(first(&tape), 0), "db"));
    CU_ASSERT_EQUAL(first(&tape)->size + 24, tape.size);
    CU_ASSERT_TRUE(fact_wanted_key(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS, "Host", 4));
    CU_ASSERT_FALSE(fact_wanted_key(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS, "host", 4));
    CU_ASSERT_FALSE(fact_wanted(&tape, KFL_FIELD_HTTP_REQUEST_METHOD));
}

/* Whatever the capacity, the tape is a whole run of nodes. */
static void what_does_not_fit_is_left_out_whole(void)
{
    for (uint32_t capacity = 0; capacity < 600; capacity += 8) {
        struct fact_tape tape = begin_tape(capacity, &kfl_demand_all);
        uint32_t seen = 0;

        fact_text(&tape, KFL_FIELD_HTTP_REQUEST_METHOD, "OPTIONS");
        fact_map(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
        for (int i = 0; i < 4; i++) {
            fact_member_joined(&tape, "Accept", 6, "text/html", 9);
            fact_member_collected(&tape, "B", 1, "a value", 7);
            fact_member_collected(&tape, "Accept", 6, "of another kind", 15);
        }
        for (int i = 0; i < FACT_DEPTH_MAX + 3; i++) {
            fact_key(&tape, "deep", 4);
            fact_map(&tape, KFL_FIELD_NONE);
        }
        for (int i = 0; i < FACT_DEPTH_MAX + 3; i++)
            fact_end(&tape);
        fact_end(&tape);
        CU_ASSERT_EQUAL(tape.depth, 0);
        CU_ASSERT_TRUE(tape.cut);
        CU_ASSERT_TRUE(tape.size <= capacity);
        FACT_EACH(node, tape.base, tape.size)
        seen += node->size;
        CU_ASSERT_EQUAL(seen, tape.size);
    }
}

static void many_members_are_bounded(void)
{
    struct fact_tape tape = begin_tape(sizeof(buffer), &kfl_demand_all);

    fact_map(&tape, KFL_FIELD_HTTP_REQUEST_HEADERS);
    for (int i = 0; i < 2000; i++) {
        char key[8];

        snprintf(key, sizeof(key), "%d", i);
        fact_member_joined(&tape, key, strlen(key), "", 0);
    }
    fact_end(&tape);
    CU_ASSERT_EQUAL(n_children(first(&tape)), 512);
    CU_ASSERT_TRUE(tape.cut);
    fact_tape_reset(&tape);
    CU_ASSERT_FALSE(tape.cut);
    CU_ASSERT_EQUAL(tape.size, 0);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"values come back", values_come_back},
        {"containers hold their children", containers_hold_their_children},
        {"members that come again are joined", members_that_come_again_are_joined},
        {"members that come again are collected", members_that_come_again_are_collected},
        {"bytes that are not UTF-8 are replaced", bytes_that_are_not_utf8_are_replaced},
        {"what is not demanded is not written", what_is_not_demanded_is_not_written},
        {"what does not fit is left out whole", what_does_not_fit_is_left_out_whole},
        {"many members are bounded", many_members_are_bounded},
        {0},
    };
    return tap_main(argc, argv, "fact", tests);
}
