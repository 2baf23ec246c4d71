// re2_door.cc - the door to RE2, whose dialect the patterns of the language are.
#include <re2/filtered_re2.h>
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

/* RE2 knows a formula over literals that must hold; one literal without which it cannot is enough.
 */
unsigned kfl_regex_literals(const char *pattern, size_t size, struct kfl_regex_literal *literal,
                            unsigned max)
{
    RE2::Options options(RE2::Quiet);
    re2::FilteredRE2 filter(2);
    std::vector<std::string> texts;
    std::vector<int> found, all;
    unsigned n = 0;
    int id, needed = -1;

    if (filter.Add(re2::StringPiece(pattern, size), options, &id) != RE2::NoError)
        return 0;
    filter.Compile(&texts);
    filter.AllPotentials({}, &found);
    if (!found.empty())
        return 0;
    for (int i = 0; i < (int)texts.size(); i++) {
        for (char c : texts[i])
            if (c & 0x80 || (c >= 'A' && c <= 'Z'))
                return 0;
        if (texts[i].size() > sizeof literal->text)
            texts[i].resize(sizeof literal->text);
    }
    for (int i = 0; i < (int)texts.size(); i++) {
        all.clear();
        for (int k = 0; k < (int)texts.size(); k++)
            if (k != i)
                all.push_back(k);
        filter.AllPotentials(all, &found);
        if (found.empty() && (needed < 0 || texts[i].size() > texts[needed].size()))
            needed = i;
    }
    for (int i = 0; i < (int)texts.size(); i++) {
        if (needed >= 0 && i != needed)
            continue;
        if (n == max)
            return 0;
        literal[n].size = texts[i].copy(literal[n].text, sizeof literal->text);
        n++;
    }
    return n;
}
