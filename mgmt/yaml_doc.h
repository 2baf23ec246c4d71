/* yaml_doc.h - a YAML file as a doc. The door to libyaml.
 *
 * For files in which scalars are texts (kubeconfig): `true` and `1` are texts, too. One document;
 * aliases, keys that are no texts, and more than 32 levels are refused. Any thread. */
#ifndef MGMT_YAML_DOC_H
#define MGMT_YAML_DOC_H

#include "doc.h"

/* A file of at most size_max bytes. Null with the reason, which begins with the path. */
struct doc *yaml_doc_read(const char *path, size_t size_max,
                          char reterr_text[static DOC_ERROR_SIZE]);

#endif
