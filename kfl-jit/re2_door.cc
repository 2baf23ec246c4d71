// re2_door.cc - the door to RE2, whose dialect the patterns of the language are.
#include <re2/re2.h>

#include <cstdio>
#include <new>

#include "regex.h"

struct kfl_regex {
    kfl_regex(re2::StringPiece pattern, const RE2::Options &options) : re2(pattern, options)
    {
    }
    RE2 re2;
};

struct kfl_regex *kfl_regex_create(const char *pattern, size_t size, char *error, size_t error_size)
{
    RE2::Options options(RE2::Quiet);
    kfl_regex *regex = new (std::nothrow) kfl_regex(re2::StringPiece(pattern, size), options);

    if (regex == nullptr) {
        snprintf(error, error_size, "no memory");
        return nullptr;
    }
    if (!regex->re2.ok()) {
        snprintf(error, error_size, "%s", regex->re2.error().c_str());
        delete regex;
        return nullptr;
    }
    return regex;
}

void kfl_regex_free(struct kfl_regex *regex)
{
    delete regex;
}

bool kfl_regex_find(const struct kfl_regex *regex, const char *text, size_t size)
{
    return RE2::PartialMatch(re2::StringPiece(text, size), regex->re2);
}
