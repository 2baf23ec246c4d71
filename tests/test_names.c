/* Names of addresses: files, precedence, the table in force. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../mgmt/files.h"
#include "../mgmt/names.h"
#include "tap.h"

enum { POOL_SIZE = 1 << 20 };

static char folder[] = "/tmp/test_names.XXXXXX";

static const char *file(const char *name, const char *text)
{
    static char path[2][64];
    static unsigned turn;

    turn ^= 1;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    CU_ASSERT_EQUAL_FATAL(file_replace(path[turn], text, strlen(text), 0600), 0);
    return path[turn];
}

static void expect(const struct names *names, const char *address, const char *want)
{
    const char *name = "", *namespace = "";
    char found[128];
    uint8_t addr[16], prefix;

    CU_ASSERT_EQUAL_FATAL(names_parse_address(address, addr, &prefix), 0);
    names_find(names, addr, &name, &namespace);
    snprintf(found, sizeof(found), "%s%s%s", name, *namespace ? "." : "", namespace);
    CU_ASSERT_STRING_EQUAL(found, want);
    if (strcmp(found, want))
        tap_note("%s: %s, not %s", address, found, want);
}

static void lines_name_addresses_and_networks(void)
{
    const char *path = file("hosts", "# comment\n"
                                     "10.0.0.1 alpha\n"
                                     "10.0.0.2\tbeta  prod # behind\r\n"
                                     "\n"
                                     "10.0.0.0/8 ten net\n"
                                     "10.1.0.0/16 ten-one\n"
                                     "0.0.0.0/0 four\n"
                                     "fe80::1 six\n"
                                     "2001:db8::/32 doc\n"
                                     "10.0.0.1 later");
    struct names_pool *pool;
    struct names *names;
    char error[NAMES_ERROR_SIZE] = "";

    CU_ASSERT_EQUAL_FATAL(names_pool_create(POOL_SIZE, &pool), 0);
    CU_ASSERT_EQUAL_FATAL(names_load(pool, &path, 1, &names, error), 0);
    CU_ASSERT_EQUAL(names_count(names), 7);
    expect(names, "10.0.0.1", "later");
    expect(names, "10.0.0.2", "beta.prod");
    expect(names, "10.0.0.3", "ten.net");
    expect(names, "10.1.2.3", "ten-one");
    expect(names, "192.168.0.1", "four");
    expect(names, "fe80::1", "six");
    expect(names, "fe80::2", "");
    expect(names, "2001:db8:1::5", "doc");
    names_free(names);
    names_pool_free(pool);
}

static void bad_lines_are_refused_with_file_and_line(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"10.0.0.1 a\nhost b\n", ":2: host: not an IP address or CIDR"},
        {"10.0.0.1\n", ":1: 10.0.0.1: a name must follow the address"},
        {"10.0.0.1/33 a\n", ":1: 10.0.0.1/33: not an IP address"},
        {"10.0.0.1/ a\n", ":1: 10.0.0.1/: not an IP address"},
        {"::1/129 a\n", ":1: ::1/129: not an IP address"},
        {"10.0.0.1 a b c\n", ":1: 10.0.0.1: too many words"},
        {"{\n\"a\": \n}", "line 3: not JSON"},
        {"{\"a\": 1}", "no list of Kubernetes objects"},
    };
    struct names_pool *pool;
    char error[NAMES_ERROR_SIZE];
    struct names *names = NULL;
    const char *path = "/nowhere/at/all";

    CU_ASSERT_EQUAL_FATAL(names_pool_create(POOL_SIZE, &pool), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *bad = file("bad", rows[i].text);

        CU_ASSERT_EQUAL(names_load(pool, &bad, 1, &names, error), -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(error, rows[i].message));
        if (!strstr(error, rows[i].message))
            tap_note("%s", error);
    }
    CU_ASSERT_EQUAL(names_load(pool, &path, 1, &names, error), -ENOENT);
    CU_ASSERT_STRING_EQUAL(error, "/nowhere/at/all: No such file or directory");
    CU_ASSERT_PTR_NULL(names);
    names_pool_free(pool);
}

static void kubectl_lists_name_pods_services_nodes(void)
{
    static const char list[] =
        "{\"kind\":\"List\",\"items\":["
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-1\",\"namespace\":\"shop\"},"
        " \"status\":{\"phase\":\"Running\",\"podIP\":\"10.1.0.1\",\"podIPs\":[{\"ip\":\"10.1.0."
        "1\"},"
        " {\"ip\":\"fd00::1\"}]}},"
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"job-1\",\"namespace\":\"shop\"},"
        " \"status\":{\"phase\":\"Succeeded\",\"podIP\":\"10.1.0.1\"}},"
        "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"exporter\",\"namespace\":\"mon\"},"
        " \"spec\":{\"hostNetwork\":true},\"status\":{\"podIP\":\"192.168.0.5\"}},"
        "{\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},"
        "\"subsets\":["
        " {\"addresses\":[{\"ip\":\"10.1.0.1\",\"targetRef\":{\"kind\":\"Pod\",\"name\":\"other\"}}"
        ","
        " {\"ip\":\"172.16.0.9\"}]}]},"
        "{\"kind\":\"Service\",\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},"
        " \"spec\":{\"clusterIP\":\"10.96.0.10\",\"clusterIPs\":[\"10.96.0.10\",\"fd01::a\"],"
        " \"externalIPs\":[\"1.2.3.4\"]},"
        " \"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"5.6.7.8\"}]}}},"
        "{\"kind\":\"Service\",\"metadata\":{\"name\":\"head\",\"namespace\":\"shop\"},"
        " \"spec\":{\"clusterIP\":\"None\"}},"
        "{\"kind\":\"Node\",\"metadata\":{\"name\":\"node-a\"},\"status\":{\"addresses\":["
        " {\"type\":\"InternalIP\",\"address\":\"192.168.0.5\"},"
        " {\"type\":\"Hostname\",\"address\":\"node-a\"}]}},"
        "{\"kind\":\"Secret\"}, 5, null"
        "]}";
    static const char pods[] = "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"name\":\"x\"},"
                               "\"status\":{\"podIP\":\"10.9.9.9\"}}]}";
    const char *paths[2];
    struct names_pool *pool;
    struct names *names;
    char error[NAMES_ERROR_SIZE] = "";

    paths[0] = file("list.json", list);
    paths[1] = file("pods.json", pods);
    CU_ASSERT_EQUAL_FATAL(names_pool_create(POOL_SIZE, &pool), 0);
    CU_ASSERT_EQUAL_FATAL(names_load(pool, paths, 2, &names, error), 0);
    expect(names, "10.1.0.1", "web-1.shop");
    expect(names, "fd00::1", "web-1.shop");
    expect(names, "172.16.0.9", "web.shop");
    expect(names, "10.96.0.10", "web.shop");
    expect(names, "fd01::a", "web.shop");
    expect(names, "1.2.3.4", "web.shop");
    expect(names, "5.6.7.8", "web.shop");
    expect(names, "192.168.0.5", "node-a");
    expect(names, "10.9.9.9", "x");
    names_free(names);
    names_pool_free(pool);
}

static void addresses_are_written_as_they_are_read(void)
{
    static const char *const rows[] = {"10.0.0.7", "10.0.0.0/8",    "0.0.0.0/0",
                                       "fe80::1",  "2001:db8::/32", "::/0"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[NAMES_ADDRESS_SIZE];
        uint8_t addr[16], prefix;

        CU_ASSERT_EQUAL_FATAL(names_parse_address(rows[i], addr, &prefix), 0);
        CU_ASSERT_STRING_EQUAL(names_format_address(addr, prefix, text), rows[i]);
    }
}

static void texts_outlive_tables_and_are_bounded(void)
{
    const char *path;
    const char *first = NULL, *second = NULL, *namespace;
    struct names_pool *pool;
    struct names *names;
    char error[NAMES_ERROR_SIZE];
    uint8_t addr[16], prefix;

    path = file("hosts", "10.0.0.1 alpha beta\n");
    CU_ASSERT_EQUAL_FATAL(names_pool_create(64, &pool), 0);
    names_parse_address("10.0.0.1", addr, &prefix);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(names_load(pool, &path, 1, &names, error), 0);
        CU_ASSERT_TRUE(names_find(names, addr, i ? &second : &first, &namespace));
        names_free(names);
    }
    CU_ASSERT_PTR_EQUAL(first, second);
    CU_ASSERT_STRING_EQUAL(first, "alpha");
    CU_ASSERT_FALSE(names_pool_full(pool));
    path = file("hosts", "10.0.0.1 alpha beta\n"
                         "10.0.0.2 "
                         "a-name-that-is-much-too-long-for-the-little-room-that-this-pool-has\n");
    CU_ASSERT_EQUAL_FATAL(names_load(pool, &path, 1, &names, error), 0);
    CU_ASSERT_TRUE(names_pool_full(pool));
    expect(names, "10.0.0.1", "alpha.beta");
    expect(names, "10.0.0.2", "");
    names_free(names);
    names_pool_free(pool);
}

static void many_names_agree_with_a_plain_list(void)
{
    enum { N = 20000 };
    struct names_pool *pool;
    struct names *names;
    unsigned wrong = 0;

    CU_ASSERT_EQUAL_FATAL(names_pool_create(POOL_SIZE, &pool), 0);
    names = names_create(pool);
    for (unsigned i = 0; i < N; i++) {
        uint8_t addr[16] = {[10] = 0xff, [11] = 0xff, [12] = 10};
        char name[16];

        addr[13] = (uint8_t)(i >> 8);
        addr[14] = (uint8_t)i;
        snprintf(name, sizeof(name), "n%u", i);
        CU_ASSERT_EQUAL_FATAL(names_add(names, addr, 120, NAMES_RANK_LINE, name, ""), 0);
    }
    for (unsigned i = 0; i < N + 100; i++) {
        uint8_t addr[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = (uint8_t)(i * 7)};
        const char *name = "", *namespace;
        char want[16] = "";

        addr[13] = (uint8_t)(i >> 8);
        addr[14] = (uint8_t)i;
        if (i < N)
            snprintf(want, sizeof(want), "n%u", i);
        names_find(names, addr, &name, &namespace);
        wrong += strcmp(name, want) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    names_free(names);
    names_pool_free(pool);
}

struct churn {
    struct names_board *board;
    _Atomic int stop;
    _Atomic unsigned wrong;
};

static void *look_up(void *context)
{
    struct churn *churn = context;
    uint8_t addr[16], prefix;

    names_parse_address("10.0.0.1", addr, &prefix);
    while (!atomic_load(&churn->stop)) {
        const char *name = "", *namespace = "";

        if (!names_lookup(churn->board, addr, 0, &name, &namespace) || name[0] != 'a')
            atomic_fetch_add(&churn->wrong, 1);
    }
    return NULL;
}

static void tables_change_under_lookups(void)
{
    struct churn churn = {0};
    struct names_pool *pool;
    pthread_t threads[2];

    CU_ASSERT_EQUAL_FATAL(names_pool_create(POOL_SIZE, &pool), 0);
    CU_ASSERT_EQUAL_FATAL(names_board_create(&churn.board), 0);
    for (unsigned i = 0; i < 2000; i++) {
        struct names *names = names_create(pool);
        uint8_t addr[16], prefix;
        char name[16];

        snprintf(name, sizeof(name), "a%u", i % 50);
        names_parse_address("10.0.0.1", addr, &prefix);
        CU_ASSERT_EQUAL(names_add(names, addr, prefix, NAMES_RANK_LINE, name, ""), 0);
        names_publish(churn.board, names);
        for (unsigned t = 0; !i && t < 2; t++)
            CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[t], NULL, look_up, &churn), 0);
    }
    atomic_store(&churn.stop, 1);
    for (unsigned t = 0; t < 2; t++)
        pthread_join(threads[t], NULL);
    CU_ASSERT_EQUAL(churn.wrong, 0);
    names_board_free(churn.board);
    names_pool_free(pool);
}

int main(int argc, char **argv)
{
    static const struct tap_test tests[] = {
        {"lines name addresses and networks", lines_name_addresses_and_networks},
        {"bad lines are refused with file and line", bad_lines_are_refused_with_file_and_line},
        {"kubectl's lists name pods, services, nodes", kubectl_lists_name_pods_services_nodes},
        {"addresses are written as they are read", addresses_are_written_as_they_are_read},
        {"texts outlive tables and are bounded", texts_outlive_tables_and_are_bounded},
        {"many names agree with a plain list", many_names_agree_with_a_plain_list},
        {"tables change under lookups", tables_change_under_lookups},
        {NULL, NULL},
    };
    int status;

    if (!mkdtemp(folder))
        return 1;
    status = tap_main(argc, argv, "names", tests);
    folder_remove(folder);
    return status;
}
