#include "packet_edit.h"

#include <string.h>

#include "../dataplane/pcapng_block.h"

uint32_t packet_edit_cut(uint8_t *block, uint32_t size, uint32_t snaplen)
{
    uint32_t caplen, old, now;

    memcpy(&caplen, block + 20, sizeof(caplen));
    if (caplen <= snaplen)
        return size;
    old = PCAPNG_PACKET_HEADER + pcapng_padded(caplen);
    now = PCAPNG_PACKET_HEADER + pcapng_padded(snaplen);
    memset(block + PCAPNG_PACKET_HEADER + snaplen, 0, pcapng_padded(snaplen) - snaplen);
    memmove(block + now, block + old, size - old);
    size -= old - now;
    pcapng_put32(block + 20, snaplen);
    pcapng_put32(block + 4, size);
    pcapng_put32(block + size - 4, size);
    return size;
}

uint32_t packet_edit_comment(uint8_t *block, uint32_t size, const char *text, uint32_t text_size)
{
    uint8_t *at = block + size - 8;

    size += 4 + pcapng_padded(text_size);
    at = pcapng_put32(at, PCAPNG_OPTION_COMMENT | text_size << 16);
    memcpy(at, text, text_size);
    memset(at + text_size, 0, pcapng_padded(text_size) - text_size);
    at = pcapng_put32(at + pcapng_padded(text_size), PCAPNG_OPTION_END);
    pcapng_put32(at, size);
    pcapng_put32(block + 4, size);
    return size;
}
