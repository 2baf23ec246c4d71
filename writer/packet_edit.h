/* packet_edit.h - changes to a finished packet block (dataplane/pcapng_block.h), in place.
 *
 * -> the block's new size. Any thread. */
#ifndef WRITER_PACKET_EDIT_H
#define WRITER_PACKET_EDIT_H

#include <stdint.h>

/* Keeps the first snaplen bytes of the packet; what follows it in the block moves up. */
uint32_t packet_edit_cut(uint8_t *block, uint32_t size, uint32_t snaplen);
/* Puts a comment before the end of the block's options; there is room for 4 + text_size, padded. */
uint32_t packet_edit_comment(uint8_t *block, uint32_t size, const char *text, uint32_t text_size);

#endif
