#include "packet_test.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "format.h"

static bool port_holds(const struct atom *atom, uint32_t number);
static void address_test(const struct atom *atom, struct packet_test *test);
static bool address_prefix(struct kfl_slice text, struct packet_test *test);
static struct kfl_value fact_value(enum kfl_field field, uint32_t number,
                                   char text[static FORMAT_PORT_SIZE]);

/* Fields, where their number is, and how many numbers there are. */
static const struct {
    uint16_t field;
    uint8_t offset;
    uint32_t n;
} numbers[] = {
    {KFL_FIELD_SRC_PORT, offsetof(struct packet_facts, port), PACKET_NO_PORT + 1},
    {KFL_FIELD_DST_PORT, offsetof(struct packet_facts, port) + 4, PACKET_NO_PORT + 1},
    {KFL_FIELD_PROTOCOL_LAYER4, offsetof(struct packet_facts, layer4), 32 + 256},
    {KFL_FIELD_IP_VERSION, offsetof(struct packet_facts, ip_version), 8},
    {KFL_FIELD_VLAN_ID, offsetof(struct packet_facts, vlan), 65536},
    {KFL_FIELD_VLAN_INNER_ID, offsetof(struct packet_facts, vlan) + 4, 65536},
    {KFL_FIELD_TUNNEL_TYPE, offsetof(struct packet_facts, tunnel), KFL_TUNNEL_COUNT},
};

void packet_test_make(const struct atoms *atoms, uint32_t number, struct packet_test *test)
{
    const struct atom *atom = &atoms->atom[number];
    const struct path_place *place;
    unsigned row = 0;
    bool inside = false;

    *test = (struct packet_test){.kind = PACKET_TEST_NONE};
    if (atom->op == ATOM_GENERAL)
        return;
    place = &atoms->subject[atom->subject].place[0];
    if (place->kind != PATH_ROW)
        return;
    if (place->field == KFL_FIELD_SRC_IP || place->field == KFL_FIELD_DST_IP) {
        test->offset =
            offsetof(struct packet_facts, addr) + (place->field == KFL_FIELD_DST_IP ? 16 : 0);
        address_test(atom, test);
        return;
    }
    while (row < sizeof numbers / sizeof *numbers && numbers[row].field != place->field)
        row++;
    if (row == sizeof numbers / sizeof *numbers)
        return;
    for (uint32_t i = 0; i < numbers[row].n; i++) {
        char text[FORMAT_PORT_SIZE];
        bool holds;

        if (numbers[row].n == PACKET_NO_PORT + 1) {
            holds = port_holds(atom, i);
        } else {
            struct kfl_value value = fact_value(place->field, i, text);

            holds = atom_holds(atom, &value);
        }
        if (holds && !inside) {
            if (test->n == PACKET_RANGES_MAX)
                return;
            test->range[test->n++].low = i;
        }
        if (holds)
            test->range[test->n - 1].high = i;
        inside = holds;
    }
    test->offset = numbers[row].offset;
    test->kind = PACKET_TEST_RANGES;
}

/* As atom_holds() of the port's text, without making it where the number tells. */
static bool port_holds(const struct atom *atom, uint32_t number)
{
    char text[FORMAT_PORT_SIZE];
    struct kfl_value value;

    if (atom->op == ATOM_EQUAL && number < PACKET_NO_PORT) {
        uint32_t read = 0;

        for (size_t i = 0; i < atom->text.size && i < FORMAT_PORT_SIZE; i++)
            read = read * 10 + (uint8_t)(atom->text.text[i] - '0');
        if (read != number)
            return false;
    }
    if (atom->op >= ATOM_LESS && atom->op <= ATOM_GREATER_EQUAL) {
        value =
            (struct kfl_value){.type = KFL_INT, .integer = number == PACKET_NO_PORT ? 0 : number};
        return atom_holds(atom, &value);
    }
    value = fact_value(KFL_FIELD_SRC_PORT, number, text);
    return atom_holds(atom, &value);
}

static void address_test(const struct atom *atom, struct packet_test *test)
{
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
    char text[FORMAT_IP_SIZE], canonical[FORMAT_IP_SIZE];

    if (atom->op == ATOM_STARTS_WITH && address_prefix(atom->text, test))
        return;
    if (atom->op != ATOM_EQUAL)
        return;
    test->kind = PACKET_TEST_RANGES; /* never, unless it is the text of an address */
    if (!atom->text.size || atom->text.size >= sizeof text)
        return;
    memcpy(text, atom->text.text, atom->text.size);
    text[atom->text.size] = 0;
    if (inet_pton(AF_INET, text, address + 12) == 1)
        test->ip_version = 4;
    else if (inet_pton(AF_INET6, text, address) == 1)
        test->ip_version = 6;
    else
        return;
    format_ip(address, test->ip_version, canonical);
    if (strlen(canonical) != atom->text.size || strcmp(canonical, text))
        return;
    test->kind = PACKET_TEST_ADDRESS;
    memcpy(test->value, address, 16);
    memset(test->mask, 0xff, 16);
}

/* `10.0.` begins the texts of a prefix's addresses, and of no IPv6 address. */
static bool address_prefix(struct kfl_slice text, struct packet_test *test)
{
    uint8_t address[16] = {[10] = 0xff, [11] = 0xff}, mask[16];
    char canonical[16] = "", prefix[16];
    unsigned n = 0, parts[3], at = 0;

    if (text.size < 2 || text.size > 12 || text.text[text.size - 1] != '.')
        return false;
    memcpy(prefix, text.text, text.size);
    prefix[text.size] = 0;
    n = (unsigned)sscanf(prefix, "%3u.%3u.%3u.", &parts[0], &parts[1], &parts[2]);
    if (n - 1 > 2) /* none, or the end came first */
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (parts[i] > 255)
            return false;
        at += (unsigned)snprintf(canonical + at, sizeof canonical - at, "%u.", parts[i]);
        address[12 + i] = (uint8_t)parts[i];
    }
    if (at != text.size || memcmp(canonical, text.text, at)) /* a text may hold zeros */
        return false;
    memset(mask, 0xff, 16);
    memset(mask + 12 + n, 0, 4 - n);
    memcpy(test->value, address, 16);
    memcpy(test->mask, mask, 16);
    test->ip_version = 4;
    test->kind = PACKET_TEST_ADDRESS;
    return true;
}

/* What a statement sees where the number is this. */
static struct kfl_value fact_value(enum kfl_field field, uint32_t number,
                                   char text[static FORMAT_PORT_SIZE])
{
    struct kfl_value value = {.type = KFL_STRING, .text = text};

    switch (field) {
    case KFL_FIELD_SRC_PORT:
        value.size = number == PACKET_NO_PORT ? 0 : (uint32_t)format_port((uint16_t)number, text);
        break;
    case KFL_FIELD_PROTOCOL_LAYER4:
        value.text = number == KFL_L4_TCP    ? "tcp"
                     : number == KFL_L4_UDP  ? "udp"
                     : number == KFL_L4_SCTP ? "sctp"
                     : number == KFL_L4_ICMP ? "icmp"
                                             : text;
        if (value.text == text)
            format_port((uint16_t)(number < 32 ? 0 : number - 32), text);
        value.size = (uint32_t)strlen(value.text);
        break;
    case KFL_FIELD_TUNNEL_TYPE:
        value.text = kfl_tunnel_name[number];
        value.size = (uint32_t)strlen(value.text);
        break;
    default:
        return (struct kfl_value){.type = KFL_INT, .integer = number};
    }
    return value;
}
