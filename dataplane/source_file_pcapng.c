/* pcapng: draft-ietf-opsawg-pcapng. Blocks of sections; blocks nobody knows are passed over. */
#include "source_file.h"

#include <errno.h>
#include <string.h>

enum block_type {
    BLOCK_INTERFACE = 1,
    BLOCK_PACKET_OBSOLETE = 2,
    BLOCK_PACKET_SIMPLE = 3,
    BLOCK_PACKET = 6,
    BLOCK_SECTION = 0x0a0d0d0a,
};

enum {
    BYTE_ORDER_MAGIC = 0x1a2b3c4d,
    BLOCK_FRAME_SIZE = 12, /* type, length; length again */
    SECTION_SIZE = 16,     /* byte order, version, length of the section */
    INTERFACE_SIZE = 8,    /* link type, reserved, snaplen */
    PACKET_SIZE = 20,      /* of the enhanced and the obsolete: before the bytes */
    OPTION_END = 0,
    OPTION_NAME = 2,
    OPTION_DESCRIPTION = 3,
    OPTION_TSRESOL = 9,
    OPTION_TSOFFSET = 14,
};

static int block_begin(struct source_file *file, uint32_t *ret_type, uint32_t *ret_size);
static int section_begin(struct source_file *file, const uint8_t *body, uint32_t size);
static int interface_begin(struct source_file *file, const uint8_t *body, uint32_t size);
static bool packet_fill(struct source_file *file, struct packet *packet, uint32_t type,
                        const uint8_t *body, uint32_t size, int *ret_rc);

unsigned file_pcapng_read(struct source_file *file, struct packet *burst, unsigned n, int *ret_end)
{
    unsigned filled = 0;
    int rc = 0;

    while (filled < n) {
        const uint8_t *at;
        uint32_t type = 0, size = 0;

        rc = block_begin(file, &type, &size);
        if (rc)
            break;
        if (type > BLOCK_PACKET && type != BLOCK_SECTION) {
            /* Whatever is missing of it shows when the next block is asked for. */
            rc = file_bytes_skip(&file->bytes, size);
            file->n_blocks++;
            if (rc)
                break;
            continue;
        }
        rc = file_bytes_need(&file->bytes, size);
        if (rc) {
            rc = file_short(file, rc, "a block", size);
            break;
        }
        at = file->bytes.at;
        if (file_u32(file, at + size - 4) != file_u32(file, at + 4)) {
            rc = file_damaged(file, "block %llu is %u bytes long at its begin, %u at its end",
                              (unsigned long long)file->n_blocks, size,
                              file_u32(file, at + size - 4));
            break;
        }
        if (type == BLOCK_SECTION)
            rc = section_begin(file, at + 8, size - BLOCK_FRAME_SIZE);
        else if (type == BLOCK_INTERFACE)
            rc = interface_begin(file, at + 8, size - BLOCK_FRAME_SIZE);
        else
            filled += packet_fill(file, &burst[filled], type, at + 8, size - BLOCK_FRAME_SIZE, &rc);
        if (rc)
            break;
        file_bytes_take(&file->bytes, size);
        file->n_blocks++;
    }
    if (rc == -ENODATA && file->n_unknown && !file->damage[0])
        file_damaged(file, "%llu packets name an interface that no block describes",
                     (unsigned long long)file->n_unknown);
    *ret_end = rc;
    return filled;
}

/* Type and length of the block at hand, and the byte order if it begins a section.
 * -> 0; -EAGAIN; -ENODATA at the file's end, with the damage or at a block's begin */
static int block_begin(struct source_file *file, uint32_t *ret_type, uint32_t *ret_size)
{
    const uint8_t *at;
    uint32_t type, size;
    int rc = file_bytes_need(&file->bytes, BLOCK_FRAME_SIZE);

    if (rc) {
        if (file->bytes.to_skip && rc == -ENODATA)
            return file_damaged(file, "it ends in block %llu",
                                (unsigned long long)file->n_blocks - 1);
        if (rc == -ENODATA && file->bytes.at == file->bytes.end)
            return rc;
        return file_short(file, rc, "a block's header", BLOCK_FRAME_SIZE);
    }
    at = file->bytes.at;
    type = file_u32(file, at);
    if (type == BLOCK_SECTION) {
        if (file_u32(file, at + 8) != BYTE_ORDER_MAGIC)
            file->swapped = !file->swapped;
        if (file_u32(file, at + 8) != BYTE_ORDER_MAGIC)
            return file_damaged(file, "block %llu begins a section, but without a byte order",
                                (unsigned long long)file->n_blocks);
    }
    size = file_u32(file, at + 4);
    if (size < BLOCK_FRAME_SIZE || size % 4)
        return file_damaged(file, "block %llu says it is %u bytes long",
                            (unsigned long long)file->n_blocks, size);
    if (size > FILE_BYTES_NEED_MAX && (type <= BLOCK_PACKET || type == BLOCK_SECTION))
        return file_damaged(file, "block %llu says it is %u bytes long",
                            (unsigned long long)file->n_blocks, size);
    *ret_type = type;
    *ret_size = size;
    return 0;
}

static int section_begin(struct source_file *file, const uint8_t *body, uint32_t size)
{
    uint16_t major;

    if (size < SECTION_SIZE)
        return file_damaged(file, "a section header of %u bytes", size);
    major = file_u16(file, body + 4);
    if (major != 1)
        return file_damaged(file, "pcapng version %u.%u is not known (1.0 is)", major,
                            file_u16(file, body + 6));
    file->n_interfaces = 0;
    return 0;
}

/* The n-th power of ten, or 0 when it does not fit. */
static uint64_t power_of_ten(unsigned n)
{
    uint64_t power = 1;

    if (n > 19)
        return 0;
    while (n--)
        power *= 10;
    return power;
}

static void resolution_set(struct file_interface *interface, uint8_t tsresol)
{
    unsigned exponent = tsresol & 0x7f;

    interface->mul = interface->div = 1;
    interface->shift = 0;
    if (tsresol & 0x80) {
        interface->shift = (uint8_t)exponent;
        interface->mul = 1000000000;
        interface->div = 0;
    } else if (exponent <= 9) {
        interface->mul = power_of_ten(9 - exponent);
    } else {
        interface->div = power_of_ten(exponent - 9);
        interface->mul = interface->div != 0; /* finer than 64 bits can be: all at the offset */
        interface->div += !interface->div;
    }
}

static void option_text(char *into, size_t size, const uint8_t *value, size_t n)
{
    if (n >= size)
        n = size - 1;
    memcpy(into, value, n);
    into[n] = 0;
}

static int interface_begin(struct source_file *file, const uint8_t *body, uint32_t size)
{
    char name[64] = "", description[128] = "";
    struct file_interface *interface;
    int64_t offset_s = 0;
    uint8_t tsresol = 6;

    if (size < INTERFACE_SIZE)
        return file_damaged(file, "an interface block of %u bytes", size);
    for (uint32_t at = INTERFACE_SIZE; size - at >= 4;) {
        const uint8_t *value = body + at + 4;
        uint16_t code = file_u16(file, body + at), n = file_u16(file, body + at + 2);

        at += 4;
        if (code == OPTION_END || n > size - at)
            break;
        if (code == OPTION_NAME)
            option_text(name, sizeof(name), value, n);
        else if (code == OPTION_DESCRIPTION)
            option_text(description, sizeof(description), value, n);
        else if (code == OPTION_TSRESOL && n >= 1)
            tsresol = value[0];
        else if (code == OPTION_TSOFFSET && n >= 8)
            offset_s = (int64_t)file_u64(file, value);
        at += (n + 3u) & ~3u; /* size is a multiple of 4, so this stays within */
    }
    /* More than fit: they are counted, their packets are not known. */
    if (file->n_interfaces < INTERFACE_MAX) {
        interface = &file->interfaces[file->n_interfaces++];
        file_interface_init(file, interface, file_u16(file, body), file_u32(file, body + 4), name,
                            description);
        resolution_set(interface, tsresol);
        if (__builtin_mul_overflow(offset_s, 1000000000, &interface->offset_ns))
            interface->offset_ns = 0;
    }
    return 0;
}

static uint64_t time_ns(const struct file_interface *interface, uint64_t ts)
{
    if (interface->div == 1)
        ts *= interface->mul;
    else if (interface->div == 0)
        ts = (uint64_t)((unsigned __int128)ts * interface->mul >> interface->shift);
    else
        ts /= interface->div;
    return ts + (uint64_t)interface->offset_ns;
}

/* -> whether there is a packet in it; *ret_rc when the block is damaged */
static bool packet_fill(struct source_file *file, struct packet *packet, uint32_t type,
                        const uint8_t *body, uint32_t size, int *ret_rc)
{
    uint32_t header = type == BLOCK_PACKET_SIMPLE ? 4 : PACKET_SIZE, number = 0, caplen, origlen;
    const struct file_interface *interface;

    if (type != BLOCK_PACKET && type != BLOCK_PACKET_SIMPLE && type != BLOCK_PACKET_OBSOLETE)
        return false;
    if (size < header) {
        *ret_rc = file_damaged(file, "a packet block of %u bytes", size);
        return false;
    }
    if (type == BLOCK_PACKET)
        number = file_u32(file, body);
    else if (type == BLOCK_PACKET_OBSOLETE)
        number = file_u16(file, body);
    if (number >= file->n_interfaces) {
        file->n_unknown++;
        atomic_store_explicit(&file->errors, file->errors + 1, memory_order_relaxed);
        return false;
    }
    interface = &file->interfaces[number];
    if (type == BLOCK_PACKET_SIMPLE) {
        caplen = origlen = file_u32(file, body);
        if (interface->snaplen && caplen > interface->snaplen)
            caplen = interface->snaplen;
    } else {
        uint64_t ts = (uint64_t)file_u32(file, body + 4) << 32 | file_u32(file, body + 8);

        file->ts_ns = time_ns(interface, ts);
        caplen = file_u32(file, body + 12);
        origlen = file_u32(file, body + 16);
    }
    if (caplen > size - header) {
        *ret_rc = file_damaged(file, "a packet of %u bytes in a block with room for %u", caplen,
                               size - header);
        return false;
    }
    file_packet(file, packet, interface, body + header, file->ts_ns, caplen, origlen);
    return true;
}
