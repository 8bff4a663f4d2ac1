/* list.h - an intrusive doubly linked ring.  The list owns nothing: it links nodes that live inside
 * their structs.  A node that is on no list points at itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))
#define LIST_EACH(head, node) for (struct list *node = (head)->next; node != (head); node = node->next)
/* The current node may be removed (and freed) inside. */
#define LIST_EACH_SAFE(head, node)                                                                                     \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);                                  \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *l) {
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l) {
    return l->next == l;
}
static inline void list_add_tail(struct list *head, struct list *node) {
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_add_head(struct list *head, struct list *node) {
    list_add_tail(head->next, node);
}
static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
/* All of `from`, in its order, behind what `to` has; `from` is empty then. */
static inline void list_move(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
static inline struct list *list_first(struct list *head) {
    return list_empty(head) ? NULL : head->next;
}

#endif
