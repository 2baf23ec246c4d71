/* members.c - members of one object with one name: the last value counts, in the place of the
 * first. */
#include <string.h>

#include "value.h"

struct ranked {
    struct kfl_value *member;
    uint32_t place;
};

static int compare(const struct ranked *a, const struct ranked *b);
static void sift(struct ranked *heap, uint32_t at, uint32_t n);

/* Sorted, so that an object with very many members costs no more than n log n. */
bool value_drop_repeated(struct kfl_arena *arena, struct kfl_value *object)
{
    uint32_t n = object->size, place = 0, dropped = 0;
    struct ranked *rank;
    struct kfl_value **link;

    if (n < 2)
        return true;
    rank = kfl_arena_alloc(arena, n * sizeof(*rank));
    if (rank == NULL)
        return false;
    for (struct kfl_value *member = object->first; member != NULL; member = member->next, place++)
        rank[place] = (struct ranked){member, place};
    for (uint32_t i = n / 2; i-- > 0;)
        sift(rank, i, n);
    for (uint32_t end = n; --end > 0;) {
        struct ranked swap = rank[0];

        rank[0] = rank[end];
        rank[end] = swap;
        sift(rank, 0, end);
    }
    for (uint32_t i = 0, first; i < n; i++) {
        for (first = i; i + 1 < n && rank[i + 1].member->key_size == rank[first].member->key_size &&
                        memcmp(rank[i + 1].member->key, rank[first].member->key,
                               rank[first].member->key_size) == 0;
             i++, dropped++)
            rank[i + 1].member->key = NULL;
        if (i > first) {
            struct kfl_value last = *rank[i].member, *kept = rank[first].member;

            last.key = kept->key;
            last.next = kept->next;
            *kept = last;
        }
    }
    if (dropped == 0)
        return true;
    for (link = &object->first, object->last = NULL; *link != NULL;) {
        if ((*link)->key == NULL) {
            *link = (*link)->next;
        } else {
            object->last = *link;
            link = &(*link)->next;
        }
    }
    object->size -= dropped;
    return true;
}

static int compare(const struct ranked *a, const struct ranked *b)
{
    uint32_t size = a->member->key_size;
    int order;

    if (size != b->member->key_size)
        return size < b->member->key_size ? -1 : 1;
    order = memcmp(a->member->key, b->member->key, size);
    return order != 0 ? order : a->place < b->place ? -1 : a->place > b->place;
}

static void sift(struct ranked *heap, uint32_t at, uint32_t n)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        struct ranked swap = heap[at];

        if (child + 1 < n && compare(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (compare(&swap, &heap[child]) >= 0)
            return;
        heap[at] = heap[child];
        heap[child] = swap;
    }
}
