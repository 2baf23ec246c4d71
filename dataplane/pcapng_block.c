#include "pcapng_block.h"

#include "../kfl-jit/ensure.h"

/* Where a block is being written; at null: only counted. */
struct block {
    uint8_t *at;
    uint32_t size;
};

enum { OPTION_SIZE_MAX = 65532, SECRETS_TLS_KEY_LOG = 0x544c534b };

static void put(struct block *block, const void *bytes, uint32_t size);
static void put16(struct block *block, uint16_t value);
static void put32(struct block *block, uint32_t value);
static void put_pad(struct block *block, uint32_t size);
static void put_option(struct block *block, enum pcapng_option code, const void *value,
                       uint32_t size);
static void put_text(struct block *block, enum pcapng_option code, const char *text);
static void put_time(struct block *block, enum pcapng_option code, uint64_t ns);
static void put_count(struct block *block, enum pcapng_option code, uint64_t count);
static struct block block_begin(uint8_t *at, uint32_t type);
static uint32_t block_end(struct block *block);
static uint32_t text_size(const char *text, uint32_t size_max);

uint32_t pcapng_section_block(uint8_t *at, const struct pcapng_section *section)
{
    struct block block = block_begin(at, PCAPNG_SECTION);

    put32(&block, PCAPNG_BYTE_ORDER);
    put16(&block, 1); /* version 1.0 */
    put16(&block, 0);
    put32(&block, UINT32_MAX); /* the section's length is not known: until the next or the end */
    put32(&block, UINT32_MAX);
    put_text(&block, PCAPNG_OPTION_SECTION_HARDWARE, section->hardware);
    put_text(&block, PCAPNG_OPTION_SECTION_OS, section->os);
    put_text(&block, PCAPNG_OPTION_SECTION_APPLICATION, section->application);
    put_text(&block, PCAPNG_OPTION_COMMENT, section->comment);
    put32(&block, PCAPNG_OPTION_END);
    return block_end(&block);
}

uint32_t pcapng_interface_block(uint8_t *at, const struct pcapng_interface *interface)
{
    struct block block = block_begin(at, PCAPNG_INTERFACE);
    uint32_t filter_size = text_size(interface->filter, OPTION_SIZE_MAX - 1);
    const uint8_t nanoseconds = 9;

    put16(&block, interface->linktype);
    put16(&block, 0);
    put32(&block, interface->snaplen);
    put_text(&block, PCAPNG_OPTION_INTERFACE_NAME, interface->name);
    put_text(&block, PCAPNG_OPTION_INTERFACE_DESCRIPTION, interface->description);
    put_option(&block, PCAPNG_OPTION_INTERFACE_TSRESOL, &nanoseconds, 1);
    if (filter_size) { /* its first byte, 0, says that a text follows */
        put16(&block, PCAPNG_OPTION_INTERFACE_FILTER);
        put16(&block, (uint16_t)(filter_size + 1));
        put(&block, "", 1);
        put(&block, interface->filter, filter_size);
        put_pad(&block, filter_size + 1);
    }
    put32(&block, PCAPNG_OPTION_END);
    return block_end(&block);
}

uint32_t pcapng_names_block(uint8_t *at, const struct pcapng_name *names, unsigned n)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct block block = block_begin(at, PCAPNG_NAMES);

    for (unsigned i = 0; i < n; i++) {
        bool v4 = !memcmp(names[i].addr, mapped, sizeof(mapped));
        uint32_t addr_size = v4 ? 4 : 16;
        uint32_t name_size = text_size(names[i].name, OPTION_SIZE_MAX - 32);

        put16(&block, v4 ? 1 : 2);
        put16(&block, (uint16_t)(addr_size + name_size + 1));
        put(&block, names[i].addr + (v4 ? 12 : 0), addr_size);
        put(&block, names[i].name, name_size);
        put(&block, "", 1);
        put_pad(&block, addr_size + name_size + 1);
    }
    put32(&block, 0); /* end of records */
    return block_end(&block);
}

uint32_t pcapng_statistics_block(uint8_t *at, const struct pcapng_statistics *statistics)
{
    struct block block = block_begin(at, PCAPNG_STATISTICS);

    put32(&block, statistics->interface);
    put32(&block, (uint32_t)(statistics->ts_ns >> 32));
    put32(&block, (uint32_t)statistics->ts_ns);
    put_time(&block, PCAPNG_OPTION_STATISTICS_START, statistics->start_ns);
    put_time(&block, PCAPNG_OPTION_STATISTICS_END, statistics->end_ns);
    put_count(&block, PCAPNG_OPTION_STATISTICS_RECEIVED, statistics->received);
    put_count(&block, PCAPNG_OPTION_STATISTICS_DROPPED, statistics->dropped);
    put_count(&block, PCAPNG_OPTION_STATISTICS_ACCEPTED, statistics->accepted);
    put_count(&block, PCAPNG_OPTION_STATISTICS_OS_DROPPED, statistics->os_dropped);
    put_count(&block, PCAPNG_OPTION_STATISTICS_DELIVERED, statistics->delivered);
    put_text(&block, PCAPNG_OPTION_COMMENT, statistics->comment);
    put32(&block, PCAPNG_OPTION_END);
    return block_end(&block);
}

uint32_t pcapng_secrets_block(uint8_t *at, const void *keylog, uint32_t keylog_size)
{
    struct block block = block_begin(at, PCAPNG_SECRETS);

    put32(&block, SECRETS_TLS_KEY_LOG);
    put32(&block, keylog_size);
    put(&block, keylog, keylog_size);
    put_pad(&block, keylog_size);
    return block_end(&block);
}

void pcapng_padding_block(uint8_t *at, uint32_t size, uint32_t body_size)
{
    ensure(size >= PCAPNG_PADDING_MIN && !(size & 3) && body_size <= size - PCAPNG_PADDING_MIN);
    pcapng_put32(at, PCAPNG_PADDING);
    pcapng_put32(at + 4, size);
    memset(at + 8 + body_size, 0, size - PCAPNG_PADDING_MIN - body_size);
    pcapng_put32(at + size - 4, size);
}

static struct block block_begin(uint8_t *at, uint32_t type)
{
    struct block block = {.at = at};

    put32(&block, type);
    put32(&block, 0); /* block_end() fills it in */
    return block;
}

static uint32_t block_end(struct block *block)
{
    uint32_t size = block->size + 4;

    put32(block, size);
    if (block->at)
        pcapng_put32(block->at + 4, size);
    return size;
}

static void put_text(struct block *block, enum pcapng_option code, const char *text)
{
    uint32_t size = text_size(text, OPTION_SIZE_MAX);

    if (size)
        put_option(block, code, text, size);
}

/* Times in options are two halves, the high one first, like those of packets. */
static void put_time(struct block *block, enum pcapng_option code, uint64_t ns)
{
    const uint32_t halves[2] = {(uint32_t)(ns >> 32), (uint32_t)ns};

    if (ns)
        put_option(block, code, halves, sizeof(halves));
}

static void put_count(struct block *block, enum pcapng_option code, uint64_t count)
{
    put_option(block, code, &count, sizeof(count));
}

static void put_option(struct block *block, enum pcapng_option code, const void *value,
                       uint32_t size)
{
    put16(block, (uint16_t)code);
    put16(block, (uint16_t)size);
    put(block, value, size);
    put_pad(block, size);
}

static uint32_t text_size(const char *text, uint32_t size_max)
{
    size_t size = text ? strlen(text) : 0;

    return size < size_max ? (uint32_t)size : size_max;
}

static void put_pad(struct block *block, uint32_t size)
{
    put(block, "\0\0\0", pcapng_padded(size) - size);
}

static void put16(struct block *block, uint16_t value)
{
    put(block, &value, sizeof(value));
}

static void put32(struct block *block, uint32_t value)
{
    put(block, &value, sizeof(value));
}

static void put(struct block *block, const void *bytes, uint32_t size)
{
    if (block->at && size)
        memcpy(block->at + block->size, bytes, size);
    block->size += size;
}
