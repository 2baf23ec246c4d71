#include "names_objects.h"

#include <string.h>

const char *const names_kind_name[NAMES_KIND_COUNT] = {"Pod", "Service", "Endpoints",
                                                       "EndpointSlice", "Node"};

struct walk {
    int (*each)(void *context, const struct names_claim *claim);
    void *context;
    struct names_claim claim;
};

static int walk_pod(struct walk *walk, const struct doc *pod);
static int walk_service(struct walk *walk, const struct doc *service);
static int walk_endpoints(struct walk *walk, const struct doc *endpoints);
static int walk_slice(struct walk *walk, const struct doc *slice);
static int walk_node(struct walk *walk, const struct doc *node);
static int claim(struct walk *walk, const char *address, enum names_rank rank, const char *name);

int names_object_each(enum names_kind kind, const struct doc *object,
                      int (*each)(void *context, const struct names_claim *claim), void *context)
{
    static int (*const walks[NAMES_KIND_COUNT])(struct walk * walk, const struct doc *object) = {
        walk_pod, walk_service, walk_endpoints, walk_slice, walk_node};
    const struct doc *metadata = doc_get(object, "metadata");
    struct walk walk = {.each = each, .context = context};

    walk.claim.name = doc_text(metadata, "name", "");
    walk.claim.namespace = doc_text(metadata, "namespace", "");
    walk.claim.from_ns = doc_time(metadata, "creationTimestamp", 0);
    return walks[kind](&walk, object);
}

static int walk_pod(struct walk *walk, const struct doc *pod)
{
    const struct doc *status = doc_get(pod, "status");
    const struct doc *ips = doc_get(status, "podIPs");
    const char *phase = doc_text(status, "phase", "");
    const char *name = walk->claim.name;
    int err;

    /* The address of a finished pod has gone to another; on the host's network it is the node's. */
    if (!strcmp(phase, "Succeeded") || !strcmp(phase, "Failed") ||
        doc_bool(doc_get(pod, "spec"), "hostNetwork", false))
        return 0;
    walk->claim.from_ns = doc_time(status, "startTime", walk->claim.from_ns);
    err = claim(walk, doc_text(status, "podIP", NULL), NAMES_RANK_POD, name);
    for (size_t i = 0; !err && i < doc_size(ips); i++)
        err = claim(walk, doc_text(doc_at(ips, i), "ip", NULL), NAMES_RANK_POD, name);
    return err;
}

static int walk_service(struct walk *walk, const struct doc *service)
{
    static const char *const lists[] = {"clusterIPs", "externalIPs"};
    const struct doc *spec = doc_get(service, "spec");
    const struct doc *ingress =
        doc_get(doc_get(doc_get(service, "status"), "loadBalancer"), "ingress");
    const char *name = walk->claim.name;
    int err = claim(walk, doc_text(spec, "clusterIP", NULL), NAMES_RANK_SERVICE, name);

    for (unsigned l = 0; l < 2; l++) {
        const struct doc *list = doc_get(spec, lists[l]);

        for (size_t i = 0; !err && i < doc_size(list); i++)
            err = claim(walk, doc_text_at(list, i, NULL), NAMES_RANK_SERVICE, name);
    }
    for (size_t i = 0; !err && i < doc_size(ingress); i++)
        err = claim(walk, doc_text(doc_at(ingress, i), "ip", NULL), NAMES_RANK_SERVICE, name);
    return err;
}

static int walk_endpoints(struct walk *walk, const struct doc *endpoints)
{
    const struct doc *subsets = doc_get(endpoints, "subsets");
    const char *service = walk->claim.name;
    int err = 0;

    for (size_t s = 0; s < doc_size(subsets); s++) {
        const struct doc *addresses = doc_get(doc_at(subsets, s), "addresses");

        for (size_t i = 0; !err && i < doc_size(addresses); i++) {
            const struct doc *address = doc_at(addresses, i);

            err = claim(walk, doc_text(address, "ip", NULL), NAMES_RANK_ENDPOINT,
                        doc_text(doc_get(address, "targetRef"), "name", service));
        }
    }
    return err;
}

/* Endpoints come and go within a slice: its age says nothing about theirs. */
static int walk_slice(struct walk *walk, const struct doc *slice)
{
    const struct doc *endpoints = doc_get(slice, "endpoints");
    const char *service = doc_text(doc_get(doc_get(slice, "metadata"), "labels"),
                                   "kubernetes.io/service-name", walk->claim.name);
    int err = 0;

    walk->claim.from_ns = 0;
    for (size_t e = 0; e < doc_size(endpoints); e++) {
        const struct doc *endpoint = doc_at(endpoints, e);
        const struct doc *addresses = doc_get(endpoint, "addresses");

        for (size_t i = 0; !err && i < doc_size(addresses); i++)
            err = claim(walk, doc_text_at(addresses, i, NULL), NAMES_RANK_ENDPOINT,
                        doc_text(doc_get(endpoint, "targetRef"), "name", service));
    }
    return err;
}

static int walk_node(struct walk *walk, const struct doc *node)
{
    const struct doc *addresses = doc_get(doc_get(node, "status"), "addresses");
    const char *name = walk->claim.name;
    int err = 0;

    for (size_t i = 0; !err && i < doc_size(addresses); i++) {
        const struct doc *address = doc_at(addresses, i);

        if (strstr(doc_text(address, "type", ""), "IP"))
            err = claim(walk, doc_text(address, "address", NULL), NAMES_RANK_NODE, name);
    }
    return err;
}

/* What is no address (clusterIP "None") names nothing. */
static int claim(struct walk *walk, const char *address, enum names_rank rank, const char *name)
{
    walk->claim.name = name;
    walk->claim.rank = rank;
    if (!address || !*name || names_parse_address(address, walk->claim.addr, &walk->claim.prefix))
        return 0;
    return walk->each(walk->context, &walk->claim);
}
